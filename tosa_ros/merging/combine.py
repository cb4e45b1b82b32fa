"""Fusing matched tokens: size-weighted average, MLERP, and the positions both need.

Second half of a merge. Only the rows that take part are computed; every other row is copied
untouched.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tosa_ros.merging.matching import Match
from tosa_ros.merging.rows import add_rows, put_rows, take


@dataclass(frozen=True)
class Groups:
    """A match of r among T tokens turned into positions.

    kept (B, T - r): tokens that stay, in their order.
    removed (B, r), target (B, r): as in the match.
    target_slot (B, r): where each target is after the merge.
    slot (B, T): where each token's content is after the merge.
    """

    kept: Tensor
    removed: Tensor
    target: Tensor
    target_slot: Tensor
    slot: Tensor

    @classmethod
    def of(cls, match: Match, tokens: int) -> Groups:
        """Positions after removing `match.removed` of `tokens` tokens."""
        removed, target = match
        batch, r = removed.shape
        stays = removed.new_ones(batch, tokens).scatter_(1, removed, 0)
        kept = stays.argsort(dim=1, descending=True, stable=True)[:, : tokens - r]
        slot = stays.cumsum(dim=1).sub_(1)
        target_slot = slot.gather(1, target)
        slot.scatter_(1, removed, target_slot)
        return cls(kept, removed, target, target_slot, slot)

    def behind(self, protected: int) -> Groups:
        """The same groups where `protected` tokens stand in front, which stay."""
        if not protected:
            return self
        head = torch.arange(protected, device=self.kept.device).expand(len(self.kept), -1)
        return Groups(
            torch.cat([head, self.kept + protected], dim=1),
            self.removed + protected,
            self.target + protected,
            self.target_slot + protected,
            torch.cat([head, self.slot + protected], dim=1),
        )

    def total(self, x: Tensor) -> Tensor:
        """Sums of each group's rows: (B, T, C) -> (B, T - r, C)."""
        return add_rows(take(x, self.kept), self.target_slot, take(x, self.removed))


def average(x: Tensor, share: Tensor, groups: Groups) -> Tensor:
    """Size-weighted average (ToMe): (B, T, D) -> (B, T - r, D).

    share (B, r) float32: the part of its group's weight that each removed token has.
    """
    # Differences from the target: equal tokens fuse without rounding.
    moved = take(x, groups.removed) - take(x, groups.target)
    moved = moved * share.unsqueeze(-1).to(x.dtype)
    return add_rows(take(x, groups.kept), groups.target_slot, moved)


def mlerp(x: Tensor, share: Tensor, groups: Groups) -> Tensor:
    """MLERP (ToFu, arXiv 2312.01026): direction of the mean, the largest norm of the group.

    (B, T, D), share (B, r) -> (B, T - r, D). A mean of length zero stays zero.
    """
    fused = average(x, share, groups)
    mean = take(fused, groups.target_slot).float()
    largest = mean.new_zeros(groups.kept.shape)
    largest.scatter_(1, groups.target_slot, take(x, groups.target).float().norm(dim=-1))
    others = take(x, groups.removed).float().norm(dim=-1)
    largest.scatter_reduce_(1, groups.target_slot, others, 'amax')
    length = mean.norm(dim=-1).clamp(min=torch.finfo(torch.float32).tiny)
    scale = (largest.gather(1, groups.target_slot) / length).unsqueeze(-1)
    return put_rows(fused, groups.target_slot, (mean * scale).to(x.dtype))
