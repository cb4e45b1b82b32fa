"""Fusing matched tokens: size-weighted average, MLERP, and the rows both need.

Second half of a merge. A token that nothing is fused into is multiplied by 1, and so unchanged.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tosa_ros.merging.indexing import add_rows, flat, take
from tosa_ros.merging.matching import Match


class Groups:
    """A match of r among T tokens turned into rows after the merge.

    slot (B, T): the row of each token, within its sample. rows (B * T,): the same among all rows.
    stays (B, T): 1 for a token that stays, 0 for one that is removed. left: how many stay, T - r.
    """

    def __init__(self, match: Match, tokens: int) -> None:
        removed, target = match
        self.left = tokens - removed.shape[1]
        ones = torch.ones(removed.shape[0], tokens, dtype=torch.int64, device=removed.device)
        self.stays = ones.scatter_(1, removed, 0)
        row = self.stays.cumsum(dim=1).sub_(1)
        self.slot = row.scatter_(1, removed, row.gather(1, target))
        self.rows = flat(self.slot, self.left)

    def kept(self, x: Tensor) -> Tensor:
        """Rows that stay, nothing fused: (B, T, C) -> (B, T - r, C)."""
        tokens = self.stays.shape[1]
        place = torch.arange(tokens, device=x.device).where(self.stays.bool(), tokens)
        return take(x, flat(place.sort(dim=1).values.narrow(1, 0, self.left), tokens))

    def total(self, x: Tensor) -> Tensor:
        """Sums of each group's rows: (B, T, C) -> (B, T - r, C)."""
        return add_rows(x.new_zeros(x.shape[0], self.left, x.shape[2]), self.rows, x)

    def share(self, weight: Tensor, total: Tensor) -> Tensor:
        """The part (B, T, 1) of its group's total (B, T - r, 1) that each weight (B, T, 1) is."""
        return weight / take(total, self.rows)


def average(x: Tensor, share: Tensor, groups: Groups) -> Tensor:
    """Size-weighted average (ToMe): (B, T, D) -> (B, T - r, D).

    share (B, T, 1) float32: the part of its group's size that each token has.
    """
    # Summed in float32, as a group may be large and would be rounded once for every token of it.
    rows = x.float()
    rows = rows * share if rows is x else rows.mul_(share)
    return groups.total(rows).to(x.dtype)


def mlerp(x: Tensor, share: Tensor, groups: Groups) -> Tensor:
    """MLERP (ToFu, arXiv 2312.01026): direction of the mean, the largest norm of the group.

    (B, T, D), share (B, T, 1) -> (B, T - r, D). A mean of length zero stays zero.
    """
    mean = average(x, share, groups).float()
    norms = x.float().norm(dim=-1).flatten()
    largest = norms.new_zeros(len(x) * groups.left).scatter_reduce_(0, groups.rows, norms, 'amax')
    length = mean.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    return (mean * (largest.view_as(length) / length)).to(x.dtype)
