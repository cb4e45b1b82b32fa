"""What is known of the tokens between layers, and one layer's merge.

`merge_layer` is the only place where tokens, keys, sizes, sources and spatial tokens change.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tosa_ros.merging.combine import Groups, average
from tosa_ros.merging.methods import MergingMethod
from tosa_ros.merging.rows import take


@dataclass(frozen=True)
class MergeState:
    """Bookkeeping of a batch of B images of N patches, of which T tokens are left.

    sums (B, T, C) float32: sums over each token's patches, so that merging is adding: patches;
        with spatial tokens, also patches with a place and the sum of their features.
    source (B, N) int64: which token each patch went to; -1 where it was pruned.
    template: the spatial tokens before any merge, or None.
    protected: class tokens at the front of the encoder's tokens, which never merge and are not
        counted here.
    pruned: whether any source may be -1.
    """

    sums: Tensor
    source: Tensor
    template: object | None = None
    protected: int = 0
    pruned: bool = False

    @classmethod
    def start(cls, x: Tensor, protected: int = 0, spatial: object | None = None) -> MergeState:
        """State before any merge of tokens x (B, protected + N, D)."""
        batch, tokens = x.shape[0], x.shape[1] - protected
        sums = torch.ones(batch, tokens, 1, dtype=torch.float32, device=x.device)
        if spatial is not None:
            weight = spatial.weight.unsqueeze(-1)
            sums = torch.cat([sums, weight, spatial.features * weight], dim=-1)
        patches = torch.arange(tokens, device=x.device)
        return cls(sums, patches.expand(batch, -1), spatial, protected)

    @property
    def size(self) -> Tensor:
        """Patches each token stands for, (B, T) float32."""
        return self.sums[:, :, 0]

    @property
    def spatial(self) -> object | None:
        """Spatial tokens (`spatial.SpatialTokens`) of the T tokens, or None."""
        if self.template is None:
            return None
        weight = self.sums[:, :, 1]
        features = self.sums[:, :, 2:] / weight.clamp(min=1).unsqueeze(-1)
        return self.template.with_tokens(features, weight)

    def bias(self, dtype: torch.dtype) -> Tensor:
        """Proportional attention: log(size) for the key columns, (B, 1, 1, protected + T).

        float32 on a CPU, whose kernel takes it at no cost; of `dtype` on a GPU, which wants that.
        """
        log = self.size.log()[:, None, None, :]
        log = log.to(dtype) if log.is_cuda else log
        return F.pad(log, (self.protected, 0)) if self.protected else log

    def after(self, groups: Groups, sums: Tensor, prunes: bool) -> MergeState:
        """State after a merge of these groups; `sums` as they are then."""
        slot = groups.slot.scatter(1, groups.removed, -1) if prunes else groups.slot
        pruned = self.pruned or prunes
        if self.pruned:
            source = slot.gather(1, self.source.clamp(min=0)).where(self.source >= 0, -1)
        else:
            source = slot.gather(1, self.source)
        return MergeState(sums, source, self.template, self.protected, pruned)

    def in_raster_order(self, x: Tensor) -> tuple[Tensor, MergeState]:
        """Tokens and state sorted by the first patch that each token stands for."""
        batch, patches = self.source.shape
        tokens = self.sums.shape[1]
        number = torch.arange(patches, device=x.device).expand(batch, -1)
        # Pruned patches count for a token behind the last.
        slot = self.source.where(self.source >= 0, tokens) if self.pruned else self.source
        first = number.new_full((batch, tokens + 1), patches)
        order = first.scatter_reduce_(1, slot, number, 'amin')[:, :tokens].argsort(dim=1)
        rank = torch.full_like(first, -1).scatter_(1, order, number[:, :tokens])
        head = number[:, : self.protected]
        rows = torch.cat([head, order + self.protected], dim=1) if self.protected else order
        state = MergeState(
            take(self.sums, order),
            rank.gather(1, slot),
            self.template,
            self.protected,
            self.pruned,
        )
        return take(x, rows), state


def merge_layer(
    method: MergingMethod,
    x: Tensor,
    keys: Tensor,
    state: MergeState,
    *,
    remove: int,
    layer: int,
    layers: int,
) -> tuple[Tensor, MergeState]:
    """Removes `remove` patch tokens after a layer's attention.

    x (B, protected + T, D); keys (B, protected + T, C), added or averaged over heads. One matching
    can at most halve the tokens; where more must go, it is repeated with the fused keys.
    """
    if torch.is_autocast_enabled(x.device.type):
        with torch.autocast(x.device.type, enabled=False):
            return merge_layer(method, x, keys, state, remove=remove, layer=layer, layers=layers)
    keys = keys[:, state.protected :]
    prunes = method.prunes(layer, layers)
    while remove > 0:
        tokens = keys.shape[1]
        now = min(remove, tokens // 2)
        match = method.match(keys, now, layer=layer, layers=layers, spatial=state.spatial)
        groups = Groups.of(match, tokens)
        everyone = groups.behind(state.protected)
        remove -= now
        if prunes:
            sums, x = take(state.sums, groups.kept), take(x, everyone.kept)
            keys = take(keys, groups.kept) if remove else keys
        else:
            sums = groups.total(state.sums)
            share = take(state.size, groups.removed) / take(sums[:, :, 0], groups.target_slot)
            x = method.fuse(x, share, everyone)
            keys = average(keys, share, groups) if remove else keys
        state = state.after(groups, sums, prunes)
    return x, state


def unmerge(tokens: Tensor, source: Tensor, fill: float = float('nan')) -> Tensor:
    """Dense tokens again: (B, T', D), source (B, N) -> (B, N, D).

    Every patch gets the token it went to; a pruned patch (source -1) gets `fill`.
    """
    dense = take(tokens, source.clamp(min=0))
    return dense.masked_fill((source < 0).unsqueeze(-1), fill)
