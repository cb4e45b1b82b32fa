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


class Sides:
    """The two sides of a bipartite matching of T tokens, r of which go.

    Every `step`-th token is a target (B); any other (A) may go. The papers' step is 2: half and
    half. Where a third or more must go, targets are fewer, half of the tokens that stay: else
    nearly every A would have to go, and which of them are alike would hardly count.
    """

    def __init__(self, tokens: int, r: int, device: torch.device) -> None:
        self.step = max(2, min(2 * tokens // (tokens - r), tokens))
        self.b = slice(self.step - 1, None, self.step)
        self.a: slice | Tensor = slice(0, None, 2)
        if self.step > 2:
            index = torch.arange(tokens - tokens // self.step, device=device)
            self.a = index + index // (self.step - 1)

    def of(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of x (B, T, C) of either side: (B, T - T // step, C), (B, T // step, C)."""
        a = x[:, self.a] if self.step == 2 else x.index_select(1, self.a)
        return a, x[:, self.b]

    def match(self, a: Tensor, b: Tensor) -> Match:
        """Match of the a-th of A and the b-th of B, (B, r) int64 both."""
        removed = 2 * a if self.step == 2 else self.a.take(a)
        return Match(removed, b * self.step + (self.step - 1))


def unit_rows(x: Tensor) -> Tensor:
    """Rows scaled to length 1, float32; rows of zeros stay zeros."""
    x = x.float()
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_(min=1e-12)


def cosine(keys: Tensor, sides: Sides) -> Tensor:
    """Cosine similarity of A to B: keys (B, T, C) -> (B, |A|, |B|) float32."""
    a, b = sides.of(unit_rows(keys))
    return torch.bmm(a, b.mT)


def match_bipartite(scores: Tensor, sides: Sides, r: int, bonus: Tensor | None = None) -> Match:
    """Bipartite soft matching (ToMe, arXiv 2210.09461).

    scores (B, |A|, |B|). Every A picks its best B (the first of equals); the r strongest pairs are
    matched (the first of equals, in token order). bonus (B, |A|) is added to the strength of A's
    pairs.
    """
    strength = scores.amax(dim=-1)
    strength = strength if bonus is None else strength.add_(bonus)
    strongest = strength.argsort(dim=-1, descending=True, stable=True).narrow(1, 0, r)
    # Finding the partner costs more than the rest, so only those that are used are found.
    partner = take(scores, flat(strongest, scores.shape[1])).argmax(dim=-1)
    return sides.match(strongest, partner)


def match_energy(keys: Tensor, r: int, margin: float) -> Match:
    """PiToMe's matching: E_i = mean_j ELU(cos(k_i, k_j) - margin), high = redundant.

    keys (B, T, C). The 2r tokens of highest energy, or all where there are fewer, are split by
    falling energy into two sides, alternately but for where all are; the first r of A are matched
    with their best B. The other tokens are protected.
    """
    unit = unit_rows(keys)
    tokens = keys.shape[1]
    energy = F.elu(torch.bmm(unit, unit.mT).sub_(margin), inplace=True).mean(dim=-1)
    order = energy.argsort(dim=-1, descending=True, stable=True)
    if 2 * r <= tokens:
        a, b = order[:, : 2 * r : 2], order[:, 1 : 2 * r : 2]
    else:
        a, b = (side.squeeze(2) for side in Sides(tokens, r, keys.device).of(order.unsqueeze(2)))
        a = a[:, :r]
    scores = torch.bmm(take(unit, flat(a, tokens)), take(unit, flat(b, tokens)).mT)
    return Match(removed=a, target=b.gather(1, scores.argmax(dim=-1)))
