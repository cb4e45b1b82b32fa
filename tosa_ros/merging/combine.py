"""Fusing matched tokens: size-weighted average, MLERP, and the positions both need.

Second half of a merge. A token that nothing is fused into is multiplied by 1, and so unchanged.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tosa_ros.merging.indexing import add_rows, flat, take
from tosa_ros.merging.matching import Match


class Groups:
    """A match of r among T tokens turned into positions.

    order (B * T,): rows of those that stay, in their order, then of those that are removed.
    goes (B * T,): the row after the merge of each in that order; into (B * r,): of the removed.
    slot (B, T): the row of each token after the merge, within its sample. removed (B, r): the
    match's.
    left: how many stay, T - r.
    """

    def __init__(self, match: Match, tokens: int) -> None:
        removed, target, kept = match
        order = torch.cat([kept, removed], dim=1)
        place = order.argsort(dim=1)
        into = place.gather(1, target)
        self.left, self.removed = kept.shape[1], removed
        stays = torch.arange(self.left, device=kept.device).expand_as(kept)
        goes = torch.cat([stays, into], dim=1)
        self.slot = goes.gather(1, place)
        self.order, self.goes = flat(order, tokens), flat(goes, self.left)
        self.into = flat(into, self.left)

    def rows(self, x: Tensor) -> Tensor:
        """All rows in `order`, (B, T, C), copied."""
        return take(x, self.order)

    def kept(self, x: Tensor) -> Tensor:
        """Rows that stay, nothing fused: (B, T, C) -> (B, T - r, C)."""
        return self.rows(x).narrow(1, 0, self.left).contiguous()

    def added(self, rows: Tensor) -> Tensor:
        """Rows (B, T, C) in `order`, changed in place: those removed added to their targets'."""
        removed = rows.narrow(1, self.left, rows.shape[1] - self.left)
        return add_rows(rows.narrow(1, 0, self.left).contiguous(), self.into, removed)

    def total(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Sums of each group's rows: (B, T, C) -> (B, T - r, C).

        Also the share (B, T, 1) that each row, in `order`, has in its group's first column.
        """
        rows = self.rows(sums)
        own = rows.narrow(2, 0, 1).clone()
        total = self.added(rows)
        return total, own / take(total.narrow(2, 0, 1), self.goes)


class SlotGroups(Groups):
    """The same for the graph of an exported encoder: in the tokens' own order, few operations.

    What runs such graphs adds all rows to zeros in one operation, but takes long to move them
    into an order first. `order` is that of the tokens; a group's sum may differ in its last bit.
    """

    def __init__(self, match: Match, tokens: int) -> None:
        removed, target, self._kept = match
        self.left, self.removed = tokens - removed.shape[1], removed
        ones = torch.ones(len(removed), tokens, dtype=torch.int64, device=removed.device)
        row = ones.scatter(1, removed, 0).cumsum(dim=1) - 1
        self.slot = row.scatter(1, removed, row.gather(1, target))
        self.goes = flat(self.slot, self.left)

    def rows(self, x: Tensor) -> Tensor:
        return x.clone()

    def kept(self, x: Tensor) -> Tensor:
        return take(x, flat(self._kept, x.shape[1]))

    def added(self, rows: Tensor) -> Tensor:
        zeros = rows.new_zeros(len(rows), self.left, rows.shape[2])
        return add_rows(zeros, self.goes, rows)


def average(x: Tensor, share: Tensor, groups: Groups) -> Tensor:
    """Size-weighted average (ToMe): (B, T, D) -> (B, T - r, D).

    share (B, T, 1) float32: the part of its group's size that each token has, in `groups.order`.
    """
    # Summed in float32, as a group may be large and would be rounded once for every token of it.
    return groups.added(groups.rows(x).float().mul_(share)).to(x.dtype)


def mlerp(x: Tensor, share: Tensor, groups: Groups) -> Tensor:
    """MLERP (ToFu, arXiv 2312.01026): direction of the mean, the largest norm of the group.

    (B, T, D), share (B, T, 1) -> (B, T - r, D). A mean of length zero stays zero.
    """
    mean = average(x, share, groups).float()
    norms = groups.rows(x).float().norm(dim=-1).flatten()
    largest = norms.new_zeros(len(x) * groups.left).scatter_reduce_(0, groups.goes, norms, 'amax')
    length = mean.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    return (mean * (largest.view_as(length) / length)).to(x.dtype)
