"""Fusing matched tokens: size-weighted average, MLERP, and the positions both need.

Second half of a merge. Only the rows that take part are computed; every other row is copied
untouched.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tosa_ros.merging.matching import Match
from tosa_ros.merging.rows import add_rows, flat, put_rows, take


class Groups:
    """A match of r among T tokens turned into positions.

    kept (B * (T - r),): rows that stay, in their order.
    removed (B * r,), target (B * r,): rows as in the match.
    into (B * r,): the targets' rows after the merge.
    slot (B, T): where each token's content is after the merge, within its sample.
    """

    def __init__(self, match: Match, tokens: int) -> None:
        removed, target, kept = match
        left = kept.shape[1]
        place = torch.arange(left, device=kept.device).expand_as(kept)
        slot = kept.new_empty(len(kept), tokens).scatter_(1, kept, place)
        into = slot.gather(1, target)
        self.slot = slot.scatter_(1, removed, into)
        self.kept, self.into = flat(kept, tokens), flat(into, left)
        self.removed, self.target = flat(removed, tokens), flat(target, tokens)

    def total(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Sums of each group's rows: (B, T, C) -> (B, T - r, C).

        Also the share (B, r, 1) that each removed row has in its group's first column.
        """
        moved = take(sums, self.removed)
        total = add_rows(take(sums, self.kept), self.into, moved)
        return total, moved.narrow(2, 0, 1) / take(total, self.into).narrow(2, 0, 1)


def average(x: Tensor, share: Tensor, groups: Groups) -> Tensor:
    """Size-weighted average (ToMe): (B, T, D) -> (B, T - r, D).

    share (B, r, 1) float32: the part of its group's size that each removed token has.
    """
    # Differences from the target: equal tokens fuse without rounding. Summed in float32, as a
    # group may be large and would be rounded once for every token of it.
    moved = torch.sub(take(x, groups.removed).float(), take(x, groups.target)).mul_(share)
    return add_rows(take(x, groups.kept).float(), groups.into, moved).to(x.dtype)


def mlerp(x: Tensor, share: Tensor, groups: Groups) -> Tensor:
    """MLERP (ToFu, arXiv 2312.01026): direction of the mean, the largest norm of the group.

    (B, T, D), share (B, r, 1) -> (B, T - r, D). A mean of length zero stays zero.
    """
    fused = average(x, share, groups)
    mean = take(fused, groups.into).float()
    norms = [
        take(x, rows).float().norm(dim=-1).flatten() for rows in (groups.target, groups.removed)
    ]
    largest = mean.new_zeros(len(groups.kept)).scatter_(0, groups.into, norms[0])
    largest.scatter_reduce_(0, groups.into, norms[1], 'amax')
    length = mean.norm(dim=-1, keepdim=True).clamp_(min=torch.finfo(torch.float32).tiny)
    scale = largest.gather(0, groups.into).view_as(length) / length
    return put_rows(fused, groups.into, (mean * scale).to(x.dtype))
