"""Which tokens go into which: the matchings of ToMe (bipartite) and PiToMe (energy).

First half of a merge; `combine` is the second. Scores are computed in float32 whatever the
model's type, so that the same merges are chosen under autocast.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tosa_ros.merging.rows import flat, take


class Match(NamedTuple):
    """`removed[b, i]` is fused into (or, when pruning, represented by) `target[b, i]`.

    Both are (B, r) int64 positions among the patch tokens of the layer. No token is both removed
    and a target; several may share a target.
    """

    removed: Tensor
    target: Tensor


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine similarity of every pair: (B, N, C), (B, M, C) -> (B, N, M) float32."""
    return torch.bmm(unit_rows(a), unit_rows(b).mT)


def unit_rows(x: Tensor) -> Tensor:
    """Rows scaled to length 1, float32; rows of zeros stay zeros."""
    x = x.float()
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_(min=1e-12)


def alternate_cosine(keys: Tensor) -> Tensor:
    """Cosine similarity of even rows to odd ones: (B, T, C) -> (B, ceil(T/2), floor(T/2))."""
    unit = unit_rows(keys)
    return torch.bmm(unit[:, ::2], unit[:, 1::2].mT)


def match_bipartite(scores: Tensor, r: int, bonus: Tensor | None = None) -> Match:
    """Bipartite soft matching (ToMe, arXiv 2210.09461).

    scores (B, ceil(T/2), floor(T/2)): similarity of the even tokens (A) to the odd ones (B).
    Every A picks its best B (the first of equals); the r strongest pairs are matched (the first
    of equals, in token order). bonus (B, ceil(T/2)) is added to the strength of A's pairs.
    """
    strength = scores.amax(dim=-1)
    strength = strength if bonus is None else strength.add_(bonus)
    strongest = strength.argsort(dim=-1, descending=True, stable=True).narrow(1, 0, r)
    # Finding the partner costs more than the rest, so only those that are used are found.
    partner = take(scores, flat(strongest, scores.shape[1])).argmax(dim=-1)
    return Match(removed=2 * strongest, target=partner.mul_(2).add_(1))


def match_energy(keys: Tensor, r: int, margin: float) -> Match:
    """PiToMe's matching: E_i = mean_j ELU(cos(k_i, k_j) - margin), high = redundant.

    keys (B, T, C). The 2r tokens of highest energy are split alternately, by falling energy,
    into A and B; every A is matched with its best B. The others are protected.
    """
    unit = unit_rows(keys)
    energy = F.elu(torch.bmm(unit, unit.mT).sub_(margin), inplace=True).mean(dim=-1)
    redundant = energy.argsort(dim=-1, descending=True, stable=True)[:, : 2 * r]
    a, b = redundant[:, ::2], redundant[:, 1::2]
    rows = take(unit, flat(redundant, keys.shape[1]))
    partner = torch.bmm(rows[:, ::2], rows[:, 1::2].mT).argmax(dim=-1)
    return Match(removed=a, target=b.gather(1, partner))
