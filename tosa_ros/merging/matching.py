"""Which tokens go into which: the matchings of ToMe (bipartite) and PiToMe (energy).

First half of a merge; `combine` is the second. Scores are computed in float32 whatever the
model's type, so that the same merges are chosen under autocast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tosa_ros.merging.indexing import exporting, flat, take


class Match(NamedTuple):
    """`removed[b, i]` is fused into (or, when pruning, represented by) `target[b, i]`.

    removed, target (B, r): int64 positions among the T patch tokens of the layer. No token is both
    removed and a target; several may share a target.
    """

    removed: Tensor
    target: Tensor


@dataclass(frozen=True)
class Sides:
    """Targets, every `step`th of T patch tokens from `start`, and movers, which are all others.

    Only movers are compared with targets: half of the arithmetic of all pairs, where step is 2.
    """

    start: int
    step: int

    def targets(self, x: Tensor) -> Tensor:
        """Rows of the targets: (B, T, ...) -> (B, K, ...)."""
        return x[:, self.start :: self.step]

    def movers(self, x: Tensor) -> Tensor:
        """Rows of the movers: (B, T, ...) -> (B, T - K, ...)."""
        if self.step == 2:
            return x[:, 1 - self.start :: 2]
        count = x.shape[1] - len(range(self.start, x.shape[1], self.step))
        return x.index_select(1, self.place(torch.arange(count, device=x.device)))

    def place(self, mover: Tensor) -> Tensor:
        """Positions of movers among the T tokens, by their numbers among the movers."""
        if self.step == 2:
            return mover * 2 + (1 - self.start)
        others = self.step - 1
        return mover + (mover + (others - self.start)) // others


def sides(tokens: int, r: int, protected: int = 0, alternate: bool = False) -> Sides:
    """The sides of T patch tokens, where r go: any mover may go, each into its best target.

    Every second token is a target, as in the papers; where a third or more must go, fewer, half of
    the tokens that stay: else nearly every mover would have to go, and what is alike would hardly
    count. alternate: every second one wherever no more than half of the tokens must go.
    protected: class tokens at the front, which count in the alternation, as in ToMe's own code:
    with one, the first patch is a target; with none, the second.
    """
    step = max(2, min(2 * tokens // (tokens - r), tokens))
    if alternate and 2 * r <= tokens:
        step = 2
    return Sides((step - 1 - protected) % step, step)


def unit_rows(x: Tensor, share: int = 1) -> Tensor:
    """Rows scaled to length 1, or by `share` shorter in the square, float32; zeros stay zeros."""
    x = x.float()
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_(min=1e-12)
    return x / (length if share == 1 else length.mul_(share**0.5))


def cosine(keys: Tensor, sides: Sides) -> Tensor:
    """Cosine similarity of movers to targets: keys (B, T, C) -> (B, T - K, K) float32."""
    unit = unit_rows(keys)
    return torch.bmm(sides.movers(unit), sides.targets(unit).mT)


def cosine_by_head(keys: Tensor, sides: Sides) -> Tensor:
    """Mean over heads of the cosines: keys (B, T, heads, C) -> (B, T - K, K) float32."""
    unit = unit_rows(keys, keys.shape[2]).flatten(2)
    return torch.bmm(sides.movers(unit), sides.targets(unit).mT)


def reduced_size(size: Tensor, sides: Sides, power: float = 1) -> Tensor:
    """Of each mover's and each target's size, (ab / (a + b)) ^ power: (B, T) -> (B, T - K, K).

    Ward's criterion: fusing a and b at distance d adds ab / (a + b) d^2 to the squared error.
    """
    one = size.reciprocal()
    # Side by side, the targets' are added at full width.
    targets = sides.targets(one).contiguous()
    return (sides.movers(one).unsqueeze(2) + targets.unsqueeze(1)).pow_(-power)


def match_bipartite(scores: Tensor, sides: Sides, r: int) -> Match:
    """Bipartite soft matching (ToMe, arXiv 2210.09461).

    scores (B, T - K, K): of movers to targets. Every mover picks its best target (the first of
    equals); the r strongest pairs are matched (the first of equals, in token order).
    """
    strength, best = (scores.amax(dim=2), None) if exporting() else scores.max(dim=2)
    strongest = strength.argsort(dim=1, descending=True, stable=True).narrow(1, 0, r)
    if best is None:  # Other runtimes are slow at it: asked for those that go alone.
        chosen = take(scores, flat(strongest, scores.shape[1])).argmax(dim=2)
    else:
        chosen = best.gather(1, strongest)
    return Match(sides.place(strongest), chosen * sides.step + sides.start)


def match_energy(keys: Tensor, r: int, margin: float) -> Match:
    """PiToMe's matching: E_i = mean_j ELU(cos(k_i, k_j) - margin), high = redundant.

    keys (B, T, C). The 2r tokens of highest energy are split alternately, by falling energy; each
    of one half goes into its best of the other, and all others are protected. Where there are
    less than 2r, all tokens are split as by `sides`, and the first r of the movers go.
    """
    tokens = keys.shape[1]
    unit = unit_rows(keys)
    energy = F.elu(torch.bmm(unit, unit.mT).sub_(margin), inplace=True).mean(dim=-1)
    order = energy.argsort(dim=1, descending=True, stable=True)
    step = 2 if 2 * r <= tokens else sides(tokens, r).step
    place = torch.arange(r, device=keys.device)
    a = order.index_select(1, place + place // (step - 1))
    b = order[:, step - 1 : min(2 * r, tokens) : step]
    scores = torch.bmm(take(unit, flat(a, tokens)), take(unit, flat(b, tokens)).mT)
    return Match(a, b.gather(1, scores.argmax(dim=-1)))
