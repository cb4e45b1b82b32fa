"""What a frame's depth and camera tell of a model's patches: spatial tokens, or their parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tosa_ros.errors import SpatialError
from tosa_ros.frames import Frame
from tosa_ros.merging import MergingMethod, ToSA
from tosa_ros.spatial import (
    PatchGrid,
    SpatialTokens,
    level_tokens,
    metric_tokens,
    patch_points,
    patch_surfaces,
    pool_depth,
    relative_from_metric,
)


class Places(NamedTuple):
    """Spatial tokens on the grid of the model's tokens, and on that of the tower's patches."""

    tokens: SpatialTokens | None
    patches: SpatialTokens | None


def spatial_kind(frame: Frame, method: MergingMethod) -> str:
    """Which spatial tokens this frame gets: 'metric', 'levels' or 'none'.

    Without depth: 'none', and merging goes by semantics alone. Raises SpatialError when metric
    tokens are demanded of depth that has no metres or no camera.
    """
    wanted = getattr(method, 'spatial', 'auto')
    if frame.depth_m is None and frame.relative_depth is None:
        return 'none'
    if wanted == 'metric' and not frame.has_metric_points:
        lack = 'intrinsics' if frame.depth_m is not None else 'depth in metres'
        raise SpatialError(
            f"spatial='metric' needs {lack}, which the frame does not have; "
            "use spatial='auto' or 'levels'"
        )
    if wanted == 'levels' or not frame.has_metric_points:
        return 'levels'
    return 'metric'


def spatial_tokens(
    frame: Frame, grid: PatchGrid, kind: str, method: MergingMethod
) -> SpatialTokens:
    """Spatial tokens of one frame; a frame without depth gets tokens that take no part."""
    if kind == 'metric':
        depth = frame.depth_m
        if depth is None:
            depth = np.full((frame.height, frame.width), np.nan, np.float32)
        camera = _camera(frame) if frame.intrinsics else torch.ones(4)
        scale = getattr(method, 'length_scale_m', ToSA.length_scale_m)
        return metric_tokens(image_tensor(depth), camera, grid, length_scale_m=scale)
    tokens = level_tokens(_relative(frame), grid)
    if frame.has_metric_points:
        points = patch_points(image_tensor(frame.depth_m), _camera(frame), grid)
        return replace(tokens, points=points[None])
    return tokens


def patch_places(frame: Frame, grid: PatchGrid, names: Sequence[str]) -> dict[str, Tensor]:
    """What an exported tower takes of a frame's depth, by name; NaN where nothing is known."""
    unknown = torch.full((grid.patches, 3), torch.nan)
    if 'normals' in names:
        if not frame.has_metric_points:
            return {'points': unknown, 'normals': unknown}
        points, normals = patch_surfaces(image_tensor(frame.depth_m), _camera(frame), grid)
        return {'points': points, 'normals': normals}
    places = {'points': unknown}
    if frame.has_metric_points:
        places['points'] = patch_points(image_tensor(frame.depth_m), _camera(frame), grid)
    if 'relative' in names:
        places['relative'] = pool_depth(_relative(frame), grid)
    return places


def _relative(frame: Frame) -> Tensor:
    """Relative depth (H, W), of metres where there are no others, NaN where there is none."""
    if frame.relative_depth is not None:
        return image_tensor(frame.relative_depth)
    if frame.depth_m is not None:
        return relative_from_metric(image_tensor(frame.depth_m))
    return torch.full((frame.height, frame.width), torch.nan)


def _camera(frame: Frame) -> Tensor:
    k = frame.intrinsics
    return torch.tensor([k.fx, k.fy, k.cx, k.cy])


class _Memory:
    """An array's memory as numpy takes it over, writable. Nothing that gets it here writes."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        address, _ = array.__array_interface__['data']
        self.__array_interface__ = {**array.__array_interface__, 'data': (address, False)}


def image_tensor(array: np.ndarray) -> Tensor:
    """The same memory as a tensor, which nothing may write to."""
    # Frames are read-only, which torch cannot express; a copy would cost more than the pooling.
    return torch.from_numpy(np.asarray(_Memory(np.ascontiguousarray(array))))
