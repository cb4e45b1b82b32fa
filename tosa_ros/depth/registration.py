"""Depth as the colour camera would see it: forward projection with a z-buffer.

For sensors whose depth and colour cameras differ (RealSense without align_depth, Kinect, ScanNet).
Depth is registered before it becomes a Frame.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from tosa_ros.errors import DepthError
from tosa_ros.frames import Intrinsics

# Samples of a depth pixel's footprint lie at most this far apart in colour pixels. Under
# 1 / sqrt(2) none is missed however the cameras are rolled; the rest is for parallax on slopes.
SAMPLE_SPACING_PX = 0.7
# Bounds the work on surfaces that almost touch the colour camera's lens.
MAX_SAMPLES_PER_SIDE = 16
_RIGID_TOLERANCE = 1e-2


def register_depth(
    depth_m: np.ndarray,
    depth_intrinsics: Intrinsics,
    colour_intrinsics: Intrinsics,
    depth_to_colour: np.ndarray | None = None,
) -> np.ndarray:
    """Depth of the depth camera -> depth at the colour camera's pixels.

    Each depth pixel is a small square facing its camera; the square is sampled finely enough to
    leave no holes where the colour image has more pixels, and the nearest sample in a colour
    pixel wins. Depths are never averaged, so nothing floats between a near edge and its
    background. What the colour camera sees past an edge and the depth camera does not stays
    NaN. Lens distortion is not undone: rectify first.

    Args:
        depth_m: (H, W) float metres, NaN (or anything not above 0) where there is none.
        depth_intrinsics: of the depth camera, for W x H pixels.
        colour_intrinsics: of the colour camera; gives the result's size.
        depth_to_colour: (4, 4) rigid transform, metres, from the depth camera's optical frame to
            the colour camera's; identity by default.

    Returns:
        (colour height, colour width) float32 metres along the colour camera's optical axis, NaN
        where no depth falls.

    Raises:
        DepthError: depth of another size than its intrinsics, or a transform that is not rigid.
    """
    depth_m = np.asarray(depth_m)
    _check_size(depth_m, depth_intrinsics)
    transform = _checked_transform(depth_to_colour)
    valid = np.isfinite(depth_m) & (depth_m > 0)
    z = depth_m[valid].astype(np.float32)
    v, u = np.nonzero(valid)
    v, u = v.astype(np.float32), u.astype(np.float32)
    nearest = np.full(colour_intrinsics.height * colour_intrinsics.width, np.inf, np.float32)
    per_side = _samples_per_side(u, v, z, depth_intrinsics, colour_intrinsics, transform)
    for n in np.unique(per_side[per_side > 0]):
        chosen = per_side == n
        for du, dv in _footprint(n):
            x, y, depth = _project(
                u[chosen] + du,
                v[chosen] + dv,
                z[chosen],
                depth_intrinsics,
                colour_intrinsics,
                transform,
            )
            _keep_nearest(nearest, x, y, depth, colour_intrinsics)
    nearest[np.isinf(nearest)] = np.nan
    return nearest.reshape(colour_intrinsics.height, colour_intrinsics.width)


def _footprint(per_side: int) -> Iterator[tuple[float, float]]:
    """Offsets from a pixel's centre to the centres of per_side x per_side equal parts of it."""
    steps = (np.arange(per_side) + 0.5) / per_side - 0.5
    return itertools.product(steps.tolist(), repeat=2)


def _project(
    u: np.ndarray,
    v: np.ndarray,
    z: np.ndarray,
    source: Intrinsics,
    target: Intrinsics,
    transform: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels with depth of one camera -> pixel coordinates and depth in the other, float32."""
    points = np.stack([(u - source.cx) / source.fx * z, (v - source.cy) / source.fy * z, z])
    x, y, depth = transform[:3, :3] @ points + transform[:3, 3:]
    with np.errstate(divide='ignore', invalid='ignore'):
        return target.fx * x / depth + target.cx, target.fy * y / depth + target.cy, depth


def _samples_per_side(
    u: np.ndarray,
    v: np.ndarray,
    z: np.ndarray,
    source: Intrinsics,
    target: Intrinsics,
    transform: np.ndarray,
) -> np.ndarray:
    """How finely each depth pixel must be cut, by how large it appears; 0 behind the camera."""
    _, _, depth = _project(u, v, z, source, target, transform)
    larger = max(target.fx / source.fx, target.fy / source.fy)
    with np.errstate(divide='ignore'):
        wanted = np.ceil(larger * z / depth / SAMPLE_SPACING_PX - 1e-9)
    return np.where(depth > 0, np.clip(wanted, 1, MAX_SAMPLES_PER_SIDE), 0).astype(np.int64)


def _keep_nearest(
    nearest: np.ndarray, x: np.ndarray, y: np.ndarray, depth: np.ndarray, target: Intrinsics
) -> None:
    """Lowers `nearest`, the flat image of depths, wherever a sample falls in front of it."""
    column, row = np.floor(x + 0.5), np.floor(y + 0.5)
    inside = (column >= 0) & (column < target.width) & (row >= 0) & (row < target.height)
    inside &= depth > 0
    index = row[inside].astype(np.int64) * target.width + column[inside].astype(np.int64)
    np.minimum.at(nearest, index, depth[inside])


def _check_size(depth_m: np.ndarray, camera: Intrinsics) -> None:
    if depth_m.ndim != 2 or not np.issubdtype(depth_m.dtype, np.floating):
        raise DepthError(
            f'register_depth: depth has shape {depth_m.shape}, dtype {depth_m.dtype}; wanted '
            '(H, W) float metres, as SensorDepth gives them'
        )
    height, width = depth_m.shape
    if (width, height) != (camera.width, camera.height):
        raise DepthError(
            f'register_depth: depth is {width}x{height} pixels, but its intrinsics are for '
            f'{camera.width}x{camera.height}; use intrinsics.scaled({width}, {height})'
        )


def _checked_transform(depth_to_colour: np.ndarray | None) -> np.ndarray:
    if depth_to_colour is None:
        return np.eye(4, dtype=np.float32)
    transform = np.asarray(depth_to_colour, dtype=np.float32)
    if transform.shape != (4, 4) or not np.isfinite(transform).all():
        raise DepthError(
            f'depth_to_colour: shape {transform.shape}; wanted a finite 4x4 matrix, metres'
        )
    rotation = transform[:3, :3]
    skew = np.abs(rotation @ rotation.T - np.eye(3)).max()
    last_row_right = (transform[3] == [0, 0, 0, 1]).all()
    if skew > _RIGID_TOLERANCE or np.linalg.det(rotation) < 0 or not last_row_right:
        raise DepthError(
            f'depth_to_colour: {transform.round(3).tolist()} is not a rotation and a translation '
            'above a last row 0 0 0 1; is it transposed or scaled?'
        )
    return transform
