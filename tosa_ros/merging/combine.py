"""Fusing matched tokens: size-weighted average, MLERP, and the bookkeeping both share.

Second half of a merge. Only the rows that take part are computed, in float32; every other row
is copied untouched. No scatter-add: results are the same on every run, on CPU and GPU.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tosa_ros.merging.matching import Match


class Groups:
    """A match turned into positions: what stays, what goes, and who shares a target.

    match: positions among the patch tokens. tokens: all tokens of the layer, class tokens
    included. protected: how many class tokens stand at the front.

    kept (B, tokens - r): positions of the tokens that stay, in their order.
    removed (B, r), target (B, r): as in the match, counted from the first class token.
    slot (B, tokens): where each token's content is after the merge.
    """

    def __init__(self, match: Match, tokens: int, protected: int = 0) -> None:
        self.removed = match.removed + protected
        self.target = match.target + protected
        batch, r = self.removed.shape
        gone = torch.zeros(batch, tokens, dtype=torch.int8, device=self.removed.device)
        gone.scatter_(1, self.removed, 1)
        self.kept = gone.argsort(dim=1, stable=True)[:, : tokens - r]
        slot = (1 - gone).cumsum(dim=1) - 1
        self.target_slot = slot.gather(1, self.target)
        self.slot = slot.scatter(1, self.removed, self.target_slot)
        # (B, r, r): which removed tokens share the target of the i-th one.
        self.shared = self.target.unsqueeze(2) == self.target.unsqueeze(1)

    def keep(self, x: Tensor) -> Tensor:
        """Rows that stay: (B, T) or (B, T, D) -> (B, T - r[, D])."""
        return take(x, self.kept)

    def total(self, weight: Tensor) -> Tensor:
        """Weights after the merge: (B, T) -> (B, T - r); a target gets its group's sum."""
        return self._put(self.keep(weight), self._group_weight(weight))

    def mean(self, x: Tensor, weight: Tensor) -> Tensor:
        """Weighted mean of each removed token's group, target included: (B, r, D) float32.

        Rows of one group are equal bit for bit. A group of no weight gets its target's value.
        """
        w = take(weight, self.removed).unsqueeze(-1)
        target = take(x, self.target).float()
        others = self.shared.to(torch.float32) @ (w * (take(x, self.removed).float() - target))
        total = self._group_weight(weight).unsqueeze(-1)
        fused = target + others / total.clamp(min=torch.finfo(torch.float32).tiny)
        return take(fused, self._first())

    def max(self, value: Tensor) -> Tensor:
        """Largest value of each removed token's group, target included: (B, T) -> (B, r)."""
        others = take(value, self.removed).unsqueeze(1).expand(self.shared.shape)
        others = others.masked_fill(~self.shared, float('-inf')).amax(dim=-1)
        return torch.maximum(others, take(value, self.target))

    def replace(self, x: Tensor, fused: Tensor) -> Tensor:
        """Rows that stay, with each group's target replaced by `fused` (B, r, D)."""
        return self._put(self.keep(x), fused.to(x.dtype))

    def _group_weight(self, weight: Tensor) -> Tensor:
        others = (self.shared * take(weight, self.removed).unsqueeze(1)).sum(dim=-1)
        return take(weight, self.target) + others

    def _first(self) -> Tensor:
        return self.shared.to(torch.int8).argmax(dim=-1)

    def _put(self, rows: Tensor, values: Tensor) -> Tensor:
        flat = rows.flatten(0, 1)
        flat.index_copy_(0, _flat_index(self.target_slot, rows.shape[1]), values.flatten(0, 1))
        return flat.view(rows.shape)


def average(x: Tensor, weight: Tensor, groups: Groups) -> Tensor:
    """Size-weighted average (ToMe): (B, T, D), (B, T) -> (B, T - r, D)."""
    return groups.replace(x, groups.mean(x, weight))


def mlerp(x: Tensor, weight: Tensor, groups: Groups) -> Tensor:
    """MLERP (ToFu, arXiv 2312.01026): direction of the mean, the largest norm of the group.

    (B, T, D), (B, T) -> (B, T - r, D). A mean of length zero stays zero.
    """
    mean = groups.mean(x, weight)
    length = mean.norm(dim=-1, keepdim=True)
    largest = groups.max(x.float().norm(dim=-1)).unsqueeze(-1)
    tiny = torch.finfo(torch.float32).tiny
    return groups.replace(x, mean * (largest / length.clamp(min=tiny)))


def take(x: Tensor, index: Tensor) -> Tensor:
    """Rows `index` (B, K) of x (B, T) or (B, T, D), sample by sample."""
    if x.ndim == 2:
        return x.gather(1, index)
    rows = x.flatten(0, 1).index_select(0, _flat_index(index, x.shape[1]))
    return rows.view(*index.shape, x.shape[-1])


def _flat_index(index: Tensor, tokens: int) -> Tensor:
    if index.shape[0] == 1:
        return index[0]
    start = torch.arange(index.shape[0], device=index.device).unsqueeze(1) * tokens
    return (index + start).flatten()
