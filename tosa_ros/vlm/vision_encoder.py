"""VisionEncoder: frames -> visual tokens in the language model's embedding space."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from tosa_ros.devices import checked_device
from tosa_ros.errors import MergingError, ModelError
from tosa_ros.frames import Frame
from tosa_ros.merging import MergingMethod, NoMerging, ToSA
from tosa_ros.spatial import (
    PatchGrid,
    SpatialTokens,
    stack,
)
from tosa_ros.vision import OUTPUT_STEPS, MergedTokens, merge_output, merge_tokens, weighs_tokens
from tosa_ros.vlm.checkpoint import Checkpoint
from tosa_ros.vlm.exported.running import ExportedTower
from tosa_ros.vlm.families.base import Family
from tosa_ros.vlm.finite import is_finite, not_finite
from tosa_ros.vlm.frame_places import (
    Places,
    image_tensor,
    patch_places,
    spatial_kind,
    spatial_tokens,
)
from tosa_ros.vlm.tiles import Tiling, joined
from tosa_ros.vlm.tokens import VisualTokens
from tosa_ros.vlm.weights import OF_A_TOWER

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from tosa_ros.vlm.weights import WeightOptions

BATCH_FRAMES = 4
USUAL_FRAME = (640, 480)


class VisionEncoder:
    """Vision tower and projector of a checkpoint, with merging in the tower or at the output.

    `merging` may be set at any time; it holds for the next call. Setting it raises MergingError
    for a method that does not fit the model.

    exported: a file that runs in place of the vision half, which is None then.
    """

    compiled = False

    def __init__(
        self,
        half: nn.Module | None,
        family: Family,
        merging: MergingMethod,
        *,
        tiles: bool = False,
        exported: ExportedTower | None = None,
    ) -> None:
        self.half = half
        self.family = family
        self.image_input = family.image_input()
        self.tiles = family.tiles() if tiles else None
        self.exported = exported
        self.tower = None
        if half is not None and 'tower' in family.roads:
            self.tower = merge_tokens(family.tower(half), NoMerging())
        self.merging = merging

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        *,
        merging: MergingMethod | None = None,
        device: str = 'cpu',
        dtype: torch.dtype | None = None,
        tiles: bool = False,
        tower: str | Path | None = None,
        compile: bool = False,
        **weights: Unpack[WeightOptions],
    ) -> VisionEncoder:
        """Loads tower and projector alone; tensors of the language model are not read.

        merging: by default ToSA(keep=0.25). dtype: by default the checkpoint's own (bfloat16 for
        float16 checkpoints on a CPU). tiles: whether a frame is cut into the tiles that the
        checkpoint's image processor makes, beside the whole. tower: a file that `export_tower`
        made of this checkpoint, which runs in place of its tower and projector; merging is by
        default the file's. compile: see `compile`. weights: quantize, attn_implementation and
        revision, as `Weights` has them.

        Raises:
            ModelError: something cannot be loaded, the file is of another checkpoint, or the
                family has no tiles.
            MergingError: the file merges in another way.
        """
        device = checked_device(device)
        checkpoint = Checkpoint.open(path_or_id, **weights)
        with checkpoint.loading_errors():
            family = checkpoint.family
            if tower:
                exported = ExportedTower.open(tower, device, dtype)
                exported.check_model(checkpoint.path)
                fixed = {name: weights.get(name) for name in OF_A_TOWER}
                for name, given in {'compile': compile, 'tiles': tiles, **fixed}.items():
                    if given is not None and given is not False:
                        raise ModelError(f'{name}: the tower {tower} is exported; leave out one')
                return cls(None, family, merging or exported.method, exported=exported)
            attention = checkpoint.weights.attn_implementation
            if 'tower' in family.roads and not weighs_tokens(attention):
                raise ModelError(
                    f'attn_implementation: {attention!r} cannot weight merged tokens by their '
                    'size; wanted sdpa or eager for the vision half'
                )
            half = family.load_vision(device, dtype)
            encoder = cls(half, family, merging or ToSA(), tiles=tiles)
        if compile:
            encoder.compile()
        return encoder

    def compile(self) -> None:
        """Has torch.compile speed up the tower; on a GPU by CUDA graphs.

        The first frame then takes from many seconds to minutes, and so does the first of each
        merging method and of each kind of depth (metric, relative, none). Frames go through the
        tower one at a time.

        Raises:
            ModelError: the model merges at the output alone, so that there is no tower to compile.
        """
        if self.tower is None:
            raise ModelError(
                f'compile: {self.family.title} has no tower that merges; leave it out'
            )
        self.tower.compile()
        self.compiled = True

    @property
    def merging(self) -> MergingMethod:
        return self._merging

    @merging.setter
    def merging(self, method: MergingMethod) -> None:
        self.check(method)
        self._merging = method

    def check(self, method: MergingMethod) -> None:
        """Raises MergingError if the model cannot merge so: where, or in that many layers."""
        if self.exported is not None:
            self.exported.check(method)
            return
        at_output = self.road(method) == 'output'
        if at_output and not method.proportional:
            raise MergingError(
                "proportional: off, but tokens merge at the output, where there is no tower's "
                'attention to weight; leave it out'
            )
        grid, joins = self.image_input.grid(*USUAL_FRAME), self.family.joins
        if not at_output:
            method.removals(grid.finer(joins).patches, len(self.tower.adapter.layers))
        if at_output or joins > 1:
            method.removals(grid.patches, OUTPUT_STEPS)
        if not at_output and joins > 1 and method.r is not None:
            raise MergingError(
                f"r: given, but {self.family.title}'s tokens merge in the tower and once more at "
                'the output; give keep, which holds for both'
            )

    def road(self, method: MergingMethod) -> str:
        """Where a method merges in this model: 'tower' or 'output'.

        Raises:
            MergingError: the method says one that the model does not have.
        """
        roads = self.family.roads
        if method.where == 'auto':
            return roads[0]
        if method.where not in roads:
            raise MergingError(
                f"where: {method.where!r}, but {self.family.title}'s {self.family.why_not}; "
                f'wanted {" or ".join(map(repr, ("auto", *roads)))}'
            )
        return method.where

    @torch.inference_mode()
    def encode(self, frames: Sequence[Frame], batch: int = BATCH_FRAMES) -> list[VisualTokens]:
        """Visual tokens of each frame, in order. Frames may differ in size and in depth.

        batch: how many go through the tower at once, if they are alike.
        """
        encoded: list[VisualTokens] = []
        batch = 1 if self.compiled else batch
        for start in range(0, len(frames), batch):
            encoded += self._encode_batch(frames[start : start + batch])
        return encoded

    def tiling(self, width: int, height: int) -> Tiling:
        """The tiles of a width x height frame; without `tiles`, one."""
        if self.tiles is not None:
            return self.tiles.tiling(width, height)
        return Tiling.one_by_one([self.image_input.grid(width, height)])

    def patches(
        self, frame: Frame, tokens: VisualTokens
    ) -> tuple[np.ndarray, tuple[PatchGrid, ...]]:
        """The token of each patch of each tile, one tile behind the other, and their grids."""
        tiling = self.tiling(frame.width, frame.height)
        return tiling.by_tile(tokens.source), tiling.tiles

    def _encode_batch(self, frames: Sequence[Frame]) -> list[VisualTokens]:
        if self.exported is not None:
            return [self._run_exported(self.exported, frame) for frame in frames]
        if self.tiles is not None:
            return [self._encode_tiles(frame) for frame in frames]
        method = self.merging
        grids = [self.image_input.grid(f.width, f.height) for f in frames]
        pixels = [self.image_input.pixels(f.rgb) for f in frames]
        kinds = [spatial_kind(f, method) for f in frames]
        # One batch has one kind of spatial tokens and one grid: other frames go in one of theirs.
        shapes = [(grid.rows, grid.cols) for grid in grids]
        if len(set(kinds) - {'none'}) > 1 or len(set(shapes)) > 1:
            return self._encode_apart(frames, list(zip(shapes, kinds, strict=True)))
        kind = next((k for k in kinds if k != 'none'), 'none')
        spatial = self._spatial(frames, grids, kind, method)
        merged = self.merged(method, pixels, grids, spatial)
        if not is_finite(merged.tokens):
            raise not_finite(
                'the vision half',
                self.half,
                lambda: self.merged(method, pixels, grids, spatial).tokens,
            )
        return [
            _describe(frame, Tiling.one_by_one([grid]), kind, merged, i)
            for i, (frame, grid, kind) in enumerate(zip(frames, grids, kinds, strict=True))
        ]

    def _encode_tiles(self, frame: Frame) -> VisualTokens:
        """One frame, whose tiles are a batch."""
        method, kind = self.merging, spatial_kind(frame, self.merging)
        tiling = self.tiling(frame.width, frame.height)
        pixels = list(self.tiles.pixels(frame.rgb))
        spatial = self._spatial([frame] * len(pixels), tiling.tiles, kind, method)

        def run() -> MergedTokens:
            return self._merged_tiles(method, pixels, tiling, spatial)

        merged = run()
        if not is_finite(merged.tokens):
            raise not_finite('the vision half', self.half, lambda: run().tokens)
        return _describe(frame, tiling, kind, merged, 0)

    def _encode_apart(
        self, frames: Sequence[Frame], sorts: Sequence[Hashable]
    ) -> list[VisualTokens]:
        """Frames of each sort in a batch of their own."""
        places: dict[Hashable, list[int]] = {}
        for place, sort in enumerate(sorts):
            places.setdefault(sort, []).append(place)
        made: dict[int, VisualTokens] = {}
        for some in places.values():
            tokens = self._encode_batch([frames[place] for place in some])
            made.update(zip(some, tokens, strict=True))
        return [made[place] for place in range(len(frames))]

    def _spatial(
        self, frames: Sequence[Frame], grids: Sequence[PatchGrid], kind: str, method: MergingMethod
    ) -> Places:
        """Spatial tokens of images or tiles, one grid each."""
        if kind == 'none':
            return Places(None, None)
        device = next(self.half.parameters()).device

        def on(parts: int) -> SpatialTokens:
            pairs = zip(frames, grids, strict=True)
            return stack(
                [spatial_tokens(frame, grid.finer(parts), kind, method) for frame, grid in pairs]
            ).to(device)

        tokens, joins = on(1), self.family.joins
        if joins == 1 or self.road(method) == 'output':
            return Places(tokens, tokens)
        return Places(tokens, on(joins))

    def merged(
        self,
        method: MergingMethod,
        pixels: Sequence[Tensor],
        grids: Sequence[PatchGrid],
        spatial: Places,
    ) -> MergedTokens:
        """Merged tokens in the language model's space, of images of one grid."""
        if self.road(method) == 'output':
            return self._merged_output(method, self._embeddings(pixels, grids), spatial.tokens)
        self.tower.method = method
        merged = self.family.see(self.tower, pixels, spatial.patches)
        if self.family.joins == 1:
            return replace(merged, tokens=self.family.project(self.half, merged))
        whole = replace(merged, tokens=merged.unmerge(fill='nearest'))
        embeddings = self.family.project(self.half, whole)
        return self._merged_output(method, embeddings, spatial.tokens)

    def _merged_output(
        self, method: MergingMethod, embeddings: Tensor, spatial: SpatialTokens | None
    ) -> MergedTokens:
        return merge_output(method, embeddings, spatial, keys=self.family.key_channels)

    def _merged_tiles(
        self,
        method: MergingMethod,
        pixels: Sequence[Tensor],
        tiling: Tiling,
        spatial: Places,
    ) -> MergedTokens:
        """The same of one frame's tiles, as one image's: in the tower each tile merges by itself,
        at the output each grid of the model's."""
        if self.road(method) == 'tower':
            return tiling.gathered(self.merged(method, pixels, tiling.tiles, spatial))
        dense = tiling.dense(self._embeddings(pixels, tiling.tiles))
        known = spatial.tokens is not None
        places = tiling.spatial(spatial.tokens) if known else [None] * len(tiling.grids)
        return joined(
            [
                self._merged_output(method, dense[None, span], place)
                for span, place in zip(tiling.spans, places, strict=True)
                if span.start < span.stop
            ]
        )

    def _embeddings(self, pixels: Sequence[Tensor], grids: Sequence[PatchGrid]) -> Tensor:
        """Embeddings (B, N, D) of images, or of tiles, without merging."""
        if self.tower is not None:
            self.tower.method = NoMerging()
        return self.family.embed(self.half, self.tower, pixels, grids)

    def _run_exported(self, exported: ExportedTower, frame: Frame) -> VisualTokens:
        grid = self.image_input.grid(frame.width, frame.height)
        kind = spatial_kind(frame, exported.method)
        exported.accepts(kind)
        places = patch_places(frame, grid, exported.places)
        merged = exported(self.image_input.pixels(frame.rgb), places)
        if not is_finite(merged.tokens):
            raise ModelError(f'{exported.file}: computes numbers that are not finite')
        return _describe(frame, Tiling.one_by_one([grid]), kind, merged, 0)


def _describe(
    frame: Frame, tiling: Tiling, kind: str, merged: MergedTokens, i: int
) -> VisualTokens:
    source, embeddings = merged.source[i].cpu(), merged.tokens[i]
    tokens = len(embeddings)
    xyz = torch.full((tokens, 3), float('nan')) if merged.xyz is None else merged.xyz[i].float()
    rgb = tiling.colour(image_tensor(frame.rgb))
    member = (source[None] == torch.arange(tokens)[:, None]).float()
    inside = (member @ tiling.area).clamp(min=1e-6)[:, None]
    return VisualTokens(
        embeddings=embeddings,
        size=merged.size[i].cpu().numpy(),
        source=source.numpy(),
        uv=(member @ tiling.centres / member.sum(dim=1, keepdim=True)).numpy(),
        rgb=((member @ rgb) / inside).round().clamp(0, 255).byte().numpy(),
        xyz=xyz.cpu().numpy(),
        grids=tiling.grids,
        spatial=kind,
        stamp=frame.stamp,
        doubts=frame.doubts,
        across=tiling.across,
    )
