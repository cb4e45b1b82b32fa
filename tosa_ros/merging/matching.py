"""Which tokens go into which: the matchings of ToMe (bipartite) and PiToMe (energy).

First half of a merge; `combine` is the second. Scores are computed in float32 whatever the
model's type, so that the same merges are chosen under autocast.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tosa_ros.merging.indexing import exporting, flat, take


class Match(NamedTuple):
    """`removed[b, i]` is fused into (or, when pruning, represented by) `target[b, i]`.

    removed, target (B, r), kept (B, T - r): int64 positions among the T patch tokens of the layer.
    No token is both removed and a target; several may share a target. kept: all that are not
    removed, in rising order.
    """

    removed: Tensor
    target: Tensor
    kept: Tensor


def targets(tokens: int, r: int, protected: int = 0, alternate: bool = False) -> slice:
    """Which of T patch tokens are targets, where r go: the others may go, each into its best one.

    Every second one, as in the papers; where a third or more must go, fewer, half of the tokens
    that stay: else nearly every other would have to go, and what is alike would hardly count.
    alternate: every second one wherever no more than half of the tokens must go.
    protected: class tokens at the front, which count in the alternation, as in ToMe's own code:
    with one, the first patch is a target; with none, the second.
    """
    step = max(2, min(2 * tokens // (tokens - r), tokens))
    if alternate and 2 * r <= tokens:
        step = 2
    return slice((step - 1 - protected) % step, None, step)


def unit_rows(x: Tensor) -> Tensor:
    """Rows scaled to length 1, float32; rows of zeros stay zeros."""
    x = x.float()
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_(min=1e-12)


def movable(tokens: int, to: slice) -> Tensor | None:
    """The R of T tokens that may go, where scores are to be of these alone; None: of all.

    All is fewer operations; these alone are half of the numbers, which counts for more in what
    runs an exported encoder.
    """
    if not exporting():
        return None
    stay = set(range(tokens)[to])
    return torch.tensor([token for token in range(tokens) if token not in stay])


def rows_of(x: Tensor, rows: Tensor | None) -> Tensor:
    """Some tokens of x (B, T, ...), or all where rows is None."""
    return x if rows is None else x.index_select(1, rows)


def cosine(keys: Tensor, to: slice, rows: Tensor | None = None) -> Tensor:
    """Cosine similarity of tokens to targets: keys (B, T, C) -> (B, R, K) float32.

    rows (R,): of these tokens; by default of all T.
    """
    unit = unit_rows(keys)
    return torch.bmm(rows_of(unit, rows), unit[:, to].mT)


def cosine_by_head(keys: Tensor, to: slice, rows: Tensor | None = None) -> Tensor:
    """Mean over heads of the cosines: keys (B, T, heads, C) -> (B, R, K) float32."""
    unit = unit_rows(keys).flatten(2)
    return torch.bmm(rows_of(unit, rows), unit[:, to].mT).div_(keys.shape[2])


def harmonic_mean(size: Tensor, to: slice, rows: Tensor | None = None) -> Tensor:
    """Of tokens' sizes (B, T) and each target's: 2ab / (a + b), (B, R, K).

    Ward's criterion: fusing a and b at distance d adds ab / (a + b) d^2 to the squared error.
    """
    one = size.reciprocal() / 2
    return (rows_of(one, rows).unsqueeze(2) + one[:, to].unsqueeze(1)).reciprocal_()


def match_bipartite(scores: Tensor, to: slice, r: int, rows: Tensor | None = None) -> Match:
    """Bipartite soft matching (ToMe, arXiv 2210.09461).

    scores (B, R, K): of tokens to the targets, which are the tokens `to`. All but the targets
    pick their best one (the first of equals); the r strongest pairs are matched (the first of
    equals, in token order).
    rows (R,): the tokens, in rising order, if the scores are not of all T.
    """
    if rows is not None:
        return _match_rows(scores, to, r, rows)
    strength, best = scores.max(dim=2)
    strength[:, to].fill_(float('-inf'))
    order = strength.argsort(dim=1, descending=True, stable=True)
    removed, kept = order.narrow(1, 0, r), order.narrow(1, r, order.shape[1] - r)
    target = best.gather(1, removed).mul_(to.step).add_(to.start)
    return Match(removed, target, kept.sort(dim=1).values)


def _match_rows(scores: Tensor, to: slice, r: int, rows: Tensor) -> Match:
    """The same match from the scores of those that may go, which alone are asked for targets."""
    order = scores.amax(dim=2).argsort(dim=1, descending=True, stable=True)
    first = order.narrow(1, 0, r)
    best = take(scores, flat(first, scores.shape[1])).argmax(dim=2)
    removed = rows[first]
    stays = torch.ones(len(scores), len(rows) + scores.shape[2], dtype=torch.int64)
    stays = stays.to(scores.device).scatter(1, removed, 0)
    kept = stays.argsort(dim=1, descending=True, stable=True).narrow(1, 0, stays.shape[1] - r)
    return Match(removed, best * to.step + to.start, kept)


def match_energy(keys: Tensor, r: int, margin: float) -> Match:
    """PiToMe's matching: E_i = mean_j ELU(cos(k_i, k_j) - margin), high = redundant.

    keys (B, T, C). The 2r tokens of highest energy are split alternately, by falling energy; each
    of one half goes into its best of the other, and all others are protected. Where there are
    less than 2r, all tokens are split as by `targets`, and the first r of the others go.
    """
    tokens = keys.shape[1]
    unit = unit_rows(keys)
    energy = F.elu(torch.bmm(unit, unit.mT).sub_(margin), inplace=True).mean(dim=-1)
    order = energy.argsort(dim=1, descending=True, stable=True)
    step = 2 if 2 * r <= tokens else targets(tokens, r).step
    place = torch.arange(r, device=keys.device)
    a = order.index_select(1, place + place // (step - 1))
    b = order[:, step - 1 : min(2 * r, tokens) : step]
    scores = torch.bmm(take(unit, flat(a, tokens)), take(unit, flat(b, tokens)).mT)
    stays = torch.ones_like(order).scatter_(1, a, 0)
    kept = stays.argsort(dim=1, descending=True, stable=True).narrow(1, 0, tokens - r)
    return Match(a, b.gather(1, scores.argmax(dim=-1)), kept)
