"""What is exported: one image's pixels and the places of its patches in, merged tokens out.

Everything has a fixed shape. Inputs, of N patches of one image of S x S pixels:

    pixels (1, 3, S, S) float32: as the checkpoint's image processor makes them
    points (N, 3) float32: each patch's point, metres, optical frame; NaN where unknown
    normals (N, 3) float32: its surface's unit normal, away from the camera ('metric')
    relative (N,) float32: its relative depth in 0..1, 1 nearest; NaN where unknown ('levels')

Outputs, of T' tokens: tokens (1, T', D) float32 in the language model's space, sizes (1, T'),
sources (1, N) int64, and with points xyz (1, T', 3).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tosa_ros.errors import MergingError
from tosa_ros.merging import MergingMethod, ToSA
from tosa_ros.spatial import PatchGrid, SpatialTokens, levelled_tokens, surface_tokens
from tosa_ros.vlm.frame_places import Places

DEPTHS = ('metric', 'relative', 'none')
# What each kind of graph takes beside pixels.
PLACES = {
    'metric': ('points', 'normals'),
    'levels': ('relative', 'points'),
    'points': ('points',),
    'none': (),
}


def length_scale_of(method: MergingMethod) -> float:
    """Of a method's metric tokens, metres."""
    return getattr(method, 'length_scale_m', ToSA.length_scale_m)


def places_of(method: MergingMethod, depth: str) -> str:
    """What a graph takes of space: by the method, and the depth there will be (DEPTHS).

    Raises:
        MergingError: a method of metric tokens, and depth without metres.
    """
    spatial = getattr(method, 'spatial', None)
    if depth == 'none':
        if spatial in ('metric', 'levels'):
            raise MergingError(f'spatial: {spatial!r}, but there is to be no depth; leave it out')
        return 'none'
    if not method.spatial_aware:
        return 'points' if depth == 'metric' else 'none'
    if depth == 'relative' and spatial == 'metric':
        raise MergingError("spatial: 'metric', but depth is to be relative; wanted auto or levels")
    return 'levels' if depth == 'relative' or spatial == 'levels' else 'metric'


def inputs(places: str, image_size: int, patches: int) -> dict[str, Tensor]:
    """Inputs of the right shapes, to record a graph with, or to try one."""
    shapes = {'points': (patches, 3), 'normals': (patches, 3), 'relative': (patches,)}
    made = {'pixels': torch.zeros(1, 3, image_size, image_size)}
    return made | {name: torch.full(shapes[name], torch.nan) for name in PLACES[places]}


class TowerGraph(nn.Module):
    """A loaded encoder's tower, merging and projector as one function of tensors."""

    def __init__(self, encoder: Any, method: MergingMethod, places: str) -> None:
        super().__init__()
        self.vision = encoder.half
        self._encoder, self._method, self._places = encoder, method, places
        self._grid: PatchGrid = encoder.image_input.grid(*[encoder.image_input.image_size] * 2)

    def forward(
        self,
        pixels: Tensor,
        points: Tensor | None = None,
        normals: Tensor | None = None,
        relative: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        spatial = self._spatial(points, normals, relative)
        places = Places(spatial, spatial)
        merged = self._encoder.merged(self._method, [pixels[0]], [self._grid], places)
        found = (merged.tokens.float(), merged.size, merged.source)
        return found if merged.xyz is None else (*found, merged.xyz)

    def _spatial(
        self, points: Tensor | None, normals: Tensor | None, relative: Tensor | None
    ) -> SpatialTokens | None:
        if self._places == 'none':
            return None
        if self._places == 'metric':
            return surface_tokens(points, normals, length_scale_of(self._method))
        if self._places == 'levels':
            return replace(levelled_tokens(relative, self._grid.cols), points=points[None])
        nothing = torch.zeros_like(points[None, :, :1])
        return SpatialTokens('points', nothing, nothing[..., 0], points[None])
