"""What is known of the tokens between layers, and one layer's merge.

`merge_layer` is the only place where tokens, keys, sizes, sources and spatial tokens change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from tosa_ros.merging.combine import Groups
from tosa_ros.merging.indexing import flat, take
from tosa_ros.merging.matching import Match
from tosa_ros.merging.methods import MergingMethod
from tosa_ros.merging.spatial_tokens import SpatialTokens


@dataclass(frozen=True)
class MergeState:
    """Bookkeeping of a batch of B images of N patches, of which T tokens are left.

    sums (B, protected + T, C) float32: sums over each token's patches, so that merging is adding:
        patches (1 for a class token); with points, also patches that have one, and their x, y, z;
        with spatial tokens to match by, also patches that have a place, and their features.
    source (B, N) int64: which row of the encoder's tokens each patch went to; -1 where pruned.
    places: the spatial tokens to match by before any merge, or None.
    protected: class tokens at the front of the encoder's tokens, which never merge.
    points: whether sums hold points.
    pruned: whether any source may be -1.
    """

    sums: Tensor
    source: Tensor
    places: SpatialTokens | None = None
    protected: int = 0
    points: bool = False
    pruned: bool = False

    @classmethod
    def start(
        cls,
        x: Tensor,
        protected: int = 0,
        spatial: SpatialTokens | None = None,
        match: bool = True,
    ) -> MergeState:
        """State before any merge of tokens x (B, protected + N, D).

        spatial: spatial tokens of the N patches; match: whether to match by them, or only to tell
        where the merged tokens are.
        """
        batch, tokens = x.shape[:2]
        sums = torch.ones(batch, tokens, 1, dtype=torch.float32, device=x.device)
        points = spatial is not None and spatial.points is not None
        columns = []
        if points:
            depth = spatial.points.narrow(2, 2, 1)
            # NaN, where no point is known, is not equal to itself.
            columns += [depth == depth, spatial.points.nan_to_num(0.0)]
        if spatial is not None and match:
            columns += [spatial.weight.unsqueeze(2), spatial.features]
        if protected:
            columns = [F.pad(column, (0, 0, protected, 0)) for column in columns]
        sums = torch.cat([sums, *columns], dim=2) if columns else sums
        source = torch.arange(protected, tokens, device=x.device).expand(batch, -1)
        return cls(sums, source, spatial if match else None, protected, points)

    @property
    def size(self) -> Tensor:
        """Patches each token stands for, (B, protected + T) float32; class tokens count 1."""
        return self.sums.select(2, 0)

    @property
    def spatial(self) -> SpatialTokens | None:
        """Spatial tokens of the T patch tokens, or None."""
        if self.places is None:
            return None
        sums = self._patch_sums()
        first = 5 if self.points else 1
        weight = sums.narrow(2, first, 1)
        features = sums.narrow(2, first + 1, sums.shape[2] - first - 1)
        return self.places.with_tokens(features / weight.clamp(min=1), weight.squeeze(2))

    @property
    def xyz(self) -> Tensor | None:
        """Mean known point of the T patch tokens in metres, NaN where none is known (B, T, 3)."""
        if not self.points:
            return None
        known, points = self._patch_sums().narrow(2, 1, 4).split([1, 3], dim=2)
        return points / known

    def _patch_sums(self) -> Tensor:
        return self.sums[:, self.protected :] if self.protected else self.sums

    def bias(self, dtype: torch.dtype) -> Tensor:
        """Proportional attention: log(size) for the key columns, (B, 1, 1, protected + T).

        float32 on a CPU, whose kernel takes it at no cost; of `dtype` on a GPU, which wants that.
        """
        log = self.size.log()
        log = log if log.device.type == 'cpu' else log.to(dtype)
        return log.view(len(log), 1, 1, -1)

    def after(self, groups: Groups, sums: Tensor, prunes: bool) -> MergeState:
        """State after a merge of these groups; `sums` as they are then."""
        slot = groups.slot
        if prunes:
            slot = slot.scatter(1, groups.removed, -1)
        if self.pruned:
            source = slot.gather(1, self.source.clamp(min=0)).where(self.source >= 0, -1)
        else:
            source = slot.gather(1, self.source)
        return replace(self, sums=sums, source=source, pruned=self.pruned or prunes)

    def in_raster_order(self, x: Tensor) -> tuple[Tensor, MergeState]:
        """Tokens and state sorted by the first patch that each token stands for."""
        batch, patches = self.source.shape
        tokens = x.shape[1]
        number = torch.arange(patches, device=x.device).expand(batch, -1)
        # Pruned patches count for a token behind the last; class tokens come before every patch.
        slot = self.source.where(self.source >= 0, tokens) if self.pruned else self.source
        first = number.new_full((batch, tokens + 1), patches)
        first.scatter_reduce_(1, slot, number, 'amin')
        if self.protected:
            first.narrow(1, 0, self.protected).fill_(-1)
        order = first.narrow(1, 0, tokens).argsort(dim=1, stable=True)
        rank = order.argsort(dim=1)
        if self.pruned:
            rank = F.pad(rank, (0, 1), value=-1)
        rows = flat(order, tokens)
        source = rank.gather(1, slot)
        return take(x, rows), replace(self, sums=take(self.sums, rows), source=source)


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

    x (B, protected + T, D); keys (B, protected + T, C), added or averaged over heads.
    """
    if torch.is_autocast_enabled(x.device.type):
        with torch.autocast(x.device.type, enabled=False):
            return merge_layer(method, x, keys, state, remove=remove, layer=layer, layers=layers)
    if not remove:
        return x, state
    prunes, protected = method.prunes(layer, layers), state.protected
    patches = keys[:, protected:] if protected else keys
    match = method.match(patches, remove, layer=layer, layers=layers, spatial=state.spatial)
    if protected:
        match = _behind(match, protected)
    groups = Groups(match, x.shape[1])
    if prunes:
        sums, x = groups.kept(state.sums), groups.kept(x)
    else:
        sums, share = groups.total(state.sums)
        x = method.fuse(x, share, groups)
    return x, state.after(groups, sums, prunes)


def _behind(match: Match, protected: int) -> Match:
    """The match as positions among all tokens, of which the first `protected` are kept."""
    removed, target, kept = (places + protected for places in match)
    first = torch.arange(protected, device=kept.device).expand(len(kept), -1)
    return Match(removed, target, torch.cat([first, kept], dim=1))


def unmerge(tokens: Tensor, source: Tensor, fill: float = float('nan')) -> Tensor:
    """Dense tokens again: (B, T', D), source (B, N) -> (B, N, D).

    Every patch gets the token it went to; a pruned patch (source -1) gets `fill`.
    """
    dense = take(tokens, flat(source.clamp(min=0), tokens.shape[1]))
    return dense.masked_fill((source < 0).unsqueeze(-1), fill)
