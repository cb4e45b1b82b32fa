"""What is known of the tokens between layers, and one layer's merge.

`merge_layer` is the only place where tokens, keys, sizes, sources and spatial tokens change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tosa_ros.merging.combine import Groups, average, take
from tosa_ros.merging.methods import MergingMethod


@dataclass(frozen=True)
class MergeState:
    """Bookkeeping of a batch of B images of N patches, of which T tokens are left.

    size (B, protected + T) float32: patches each token stands for; class tokens count 1.
    source (B, N) int64: which token each patch went to; -1 where it was pruned.
    spatial: spatial tokens (`spatial.SpatialTokens`) of the T patch tokens, or None.
    protected: class tokens at the front, which never merge.
    """

    size: Tensor
    source: Tensor
    spatial: object | None = None
    protected: int = 0

    @classmethod
    def start(cls, x: Tensor, protected: int = 0, spatial: object | None = None) -> MergeState:
        """State before any merge of tokens x (B, protected + N, D)."""
        batch, tokens = x.shape[:2]
        size = torch.ones(batch, tokens, dtype=torch.float32, device=x.device)
        patches = torch.arange(tokens - protected, device=x.device)
        return cls(size, patches.expand(batch, -1), spatial, protected)

    def bias(self, dtype: torch.dtype) -> Tensor:
        """log(size) for the attention's key columns, (B, 1, 1, T): proportional attention."""
        return self.size.log().to(dtype)[:, None, None, :]

    def in_raster_order(self, x: Tensor) -> tuple[Tensor, MergeState]:
        """Tokens and state sorted by the first patch that each token stands for."""
        batch, patches = self.source.shape
        tokens = x.shape[1] - self.protected
        first = torch.full((batch, tokens + 1), patches, device=x.device)
        slot = self.source.where(self.source >= 0, tokens)
        number = torch.arange(patches, device=x.device).expand(batch, -1)
        order = first.scatter_reduce(1, slot, number, 'amin')[:, :tokens].argsort(dim=1)
        rank = order.argsort(dim=1)
        source = torch.where(self.source < 0, -1, rank.gather(1, self.source.clamp(min=0)))
        head = torch.arange(self.protected, device=x.device).expand(batch, -1)
        order = torch.cat([head, order + self.protected], dim=1)
        return take(x, order), replace(
            self, size=take(self.size, order), source=source, spatial=None
        )


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

    x (B, protected + T, D); keys (B, protected + T, C), averaged over heads. One matching can at
    most halve the tokens; where more must go, it is repeated with the fused keys.
    """
    with torch.autocast(x.device.type, enabled=False):
        while remove > 0:
            now = min(remove, (x.shape[1] - state.protected) // 2)
            x, keys, state = _merge_once(method, x, keys, state, now, layer, layers)
            remove -= now
    return x, state


def _merge_once(
    method: MergingMethod,
    x: Tensor,
    keys: Tensor,
    state: MergeState,
    r: int,
    layer: int,
    layers: int,
) -> tuple[Tensor, Tensor, MergeState]:
    patch_keys = keys[:, state.protected :]
    match = method.match(patch_keys, r, layer=layer, layers=layers, spatial=state.spatial)
    groups = Groups(match, x.shape[1], state.protected)
    prunes = method.prunes(layer, layers)
    fused = method.fuse(x, state.size, groups, layer=layer, layers=layers)
    if prunes:
        keys, size = groups.keep(keys), groups.keep(state.size)
    else:
        keys, size = average(keys, state.size, groups), groups.total(state.size)
    spatial = _merge_spatial(state, match, prunes)
    source = _follow(state.source, groups, state.protected, prunes)
    return fused, keys, replace(state, size=size, source=source, spatial=spatial)


def _merge_spatial(state: MergeState, match: object, prunes: bool) -> object | None:
    if state.spatial is None:
        return None
    spatial = state.spatial
    groups = Groups(match, spatial.features.shape[1])
    if prunes:
        return spatial.with_tokens(groups.keep(spatial.features), groups.keep(spatial.weight))
    features = average(spatial.features, spatial.weight, groups)
    return spatial.with_tokens(features, groups.total(spatial.weight))


def _follow(source: Tensor, groups: Groups, protected: int, prunes: bool) -> Tensor:
    slot = groups.slot - protected
    if prunes:
        slot = slot.scatter(1, groups.removed, -1)
    moved = slot[:, protected:].gather(1, source.clamp(min=0))
    return torch.where(source < 0, -1, moved)


def unmerge(tokens: Tensor, source: Tensor, fill: float = float('nan')) -> Tensor:
    """Dense tokens again: (B, T', D), source (B, N) -> (B, N, D).

    Every patch gets the token it went to; a pruned patch (source -1) gets `fill`.
    """
    dense = take(tokens, source.clamp(min=0))
    return dense.masked_fill((source < 0).unsqueeze(-1), fill)
