"""Which tokens go into which: the matchings of ToMe (bipartite) and PiToMe (energy).

First half of a merge; `combine` is the second. Scores are computed in float32 whatever the
model's type, so that the same merges are chosen under autocast.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class Match(NamedTuple):
    """`removed[b, i]` is fused into (or, when pruning, represented by) `target[b, i]`.

    Both are (B, r) int64 positions among the patch tokens of the layer. No token is both removed
    and a target; several may share a target.
    """

    removed: Tensor
    target: Tensor


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine similarity of every pair: (B, N, C), (B, M, C) -> (B, N, M) float32."""
    a = F.normalize(a.float(), dim=-1)
    b = F.normalize(b.float(), dim=-1)
    return a @ b.transpose(1, 2)


def match_bipartite(scores: Tensor, r: int) -> Match:
    """Bipartite soft matching (ToMe, arXiv 2210.09461).

    scores (B, ceil(T/2), floor(T/2)): similarity of the even tokens (A) to the odd ones (B).
    Every A picks its best B (the first of equals); the r strongest pairs are matched (the first
    of equals, in token order).
    """
    best, partner = scores.max(dim=-1)
    strongest = best.argsort(dim=-1, descending=True, stable=True)[:, :r]
    return Match(removed=2 * strongest, target=2 * partner.gather(1, strongest) + 1)


def match_energy(keys: Tensor, r: int, margin: float) -> Match:
    """PiToMe's matching: E_i = mean_j ELU(cos(k_i, k_j) - margin), high = redundant.

    keys (B, T, C). The 2r tokens of highest energy are split alternately, by falling energy,
    into A and B; every A is matched with its best B. The others are protected.
    """
    energy = F.elu(cosine(keys, keys) - margin).mean(dim=-1)
    redundant = energy.argsort(dim=-1, descending=True, stable=True)[:, : 2 * r]
    a, b = redundant[:, ::2], redundant[:, 1::2]
    channels = (1, 1, keys.shape[-1])
    scores = cosine(
        keys.gather(1, a.unsqueeze(-1).repeat(channels)),
        keys.gather(1, b.unsqueeze(-1).repeat(channels)),
    )
    return Match(removed=a, target=b.gather(1, scores.argmax(dim=-1)))
