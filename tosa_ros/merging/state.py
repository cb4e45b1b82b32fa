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
    home (B, N) int64: which row of the encoder's tokens each patch went to, or, where it was
        pruned, which one it was most like.
    kept (B, N) bool: False where a patch was pruned; or None where none was.
    places: the spatial tokens to match by before any merge, or None.
    protected: class tokens at the front of the encoder's tokens, which never merge.
    points: whether sums hold points.
    """

    sums: Tensor
    home: Tensor
    places: SpatialTokens | None = None
    protected: int = 0
    points: bool = False
    kept: Tensor | None = None

    @classmethod
    def start(
        cls,
        x: Tensor,
        protected: int = 0,
        spatial: SpatialTokens | None = None,
        match: bool = True,
    ) -> MergeState:
        """State before any merge of tokens x (B, protected + N, D).

        spatial: spatial tokens of the N patches; match: whether to match by them, or only to
        report where the merged tokens are.
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
        home = torch.arange(protected, tokens, device=x.device).expand(batch, -1)
        return cls(sums, home, spatial if match else None, protected, points)

    @property
    def source(self) -> Tensor:
        """`home`, but -1 where the patch was pruned, (B, N)."""
        return self.home if self.kept is None else self.home.where(self.kept, -1)

    @property
    def size(self) -> Tensor:
        """Patches each token stands for, (B, protected + T) float32; class tokens count 1."""
        return self.sums.select(2, 0)

    @property
    def tokens(self) -> int:
        """T, the patch tokens that are left."""
        return self.sums.shape[1] - self.protected

    @property
    def patch_size(self) -> Tensor:
        """Patches each of the T patch tokens stands for, (B, T) float32."""
        return self._patch_sums().select(2, 0)

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

    @property
    def middle(self) -> Tensor:
        """The patch that each of the T patch tokens stands at, (B, T) of 0..N-1.

        The middle one of its patches in raster order, the first of two.
        """
        patches, tokens = self.home.shape[1], self.sums.shape[1]
        row = self.home if self.kept is None else self.home.where(self.kept, tokens)
        number = torch.arange(patches, device=row.device)
        # One number for row and patch: no sort has to be stable.
        by_row = (row * patches + number).sort(dim=1).values % patches
        size = self.patch_size.long()
        return by_row.gather(1, size.cumsum(dim=1) - size + (size - 1) // 2)

    def _patch_sums(self) -> Tensor:
        return self.sums[:, self.protected :] if self.protected else self.sums

    def bias(self, dtype: torch.dtype, proportional: bool = True) -> Tensor | None:
        """Proportional attention: log(size) for the key columns, (B, 1, 1, protected + T).

        None where it is not proportional.
        float32 on a CPU, whose kernel takes it at no cost; of `dtype` on a GPU, which wants that.
        """
        if not proportional:
            return None
        log = self.size.log()
        log = log if log.device.type == 'cpu' else log.to(dtype)
        return log.view(len(log), 1, 1, -1)

    def after(self, groups: Groups, sums: Tensor, prunes: bool) -> MergeState:
        """State after a merge of these groups; `sums` as they are then."""
        home, kept = groups.slot.gather(1, self.home), self.kept
        if prunes:
            stays = groups.stays.gather(1, self.home).bool()
            kept = stays if kept is None else kept & stays
        return MergeState(sums, home, self.places, self.protected, self.points, kept)

    def in_raster_order(self, x: Tensor) -> tuple[Tensor, MergeState]:
        """Tokens and state sorted by the first patch that each token stands for."""
        batch, patches = self.home.shape
        tokens = x.shape[1]
        number = torch.arange(patches, device=x.device).expand(batch, -1)
        # Pruned patches count for no token; class tokens come before every patch.
        number = number if self.kept is None else number.where(self.kept, patches)
        first = number.new_full((batch, tokens), patches)
        first.scatter_reduce_(1, self.home, number, 'amin')
        if self.protected:
            first.narrow(1, 0, self.protected).fill_(-1)
        order = first.argsort(dim=1, stable=True)
        rows, home = flat(order, tokens), order.argsort(dim=1).gather(1, self.home)
        return take(x, rows), replace(self, sums=take(self.sums, rows), home=home)


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

    x (B, protected + T, D); keys (B, protected + T, heads, C).
    """
    if torch.is_autocast_enabled(x.device.type):
        with torch.autocast(x.device.type, enabled=False):
            return merge_layer(method, x, keys, state, remove=remove, layer=layer, layers=layers)
    if not remove:
        return x, state
    prunes, protected = method.prunes(layer, layers), state.protected
    patches = keys[:, protected:] if protected else keys
    match = method.match(patches, remove, layer=layer, layers=layers, state=state)
    if protected:
        match = _behind(match, protected)
    groups = Groups(match, x.shape[1])
    if prunes:
        sums, x = groups.kept(state.sums), groups.kept(x)
    else:
        sums = groups.total(state.sums)
        share = groups.share(state.sums.narrow(2, 0, 1), sums.narrow(2, 0, 1))
        x = method.fuse(x, share, groups)
    return x, state.after(groups, sums, prunes)


def _behind(match: Match, protected: int) -> Match:
    """The match as positions among all tokens, behind the first `protected`."""
    return Match(match.removed + protected, match.target + protected)


def unmerge(tokens: Tensor, source: Tensor, fill: float | Tensor = float('nan')) -> Tensor:
    """Dense tokens again: (B, T', D), source (B, N) -> (B, N, D).

    Every patch gets the token it went to; a pruned patch (source -1) gets `fill`, a number, or
    the token of its row in `fill` (B, N), which has no -1.
    """
    if isinstance(fill, Tensor):
        return take(tokens, flat(source.where(source >= 0, fill), tokens.shape[1]))
    dense = take(tokens, flat(source.clamp(min=0), tokens.shape[1]))
    return dense.masked_fill((source < 0).unsqueeze(-1), fill)
