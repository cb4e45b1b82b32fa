"""Depth as the colour camera would see it: forward projection with a z-buffer.

For sensors whose depth and colour cameras differ (RealSense without align_depth, Kinect, ScanNet).
Depth is registered before it becomes a Frame.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tosa_ros.errors import DepthError
from tosa_ros.frames import Intrinsics

# Samples of a depth pixel's footprint lie at most this far apart in colour pixels. Under
# 1 / sqrt(2) none is missed however the cameras are rolled; the rest is for parallax on slopes.
SAMPLE_SPACING_PX = 0.7
# Bounds the work on surfaces that almost touch the colour camera's lens.
MAX_SAMPLES_PER_SIDE = 16
# Pixels that are worked on at a time: what is made of them stays in a core's cache.
BAND_PIXELS = 1 << 15
# Along a side of an image: with fewer there is nothing to save.
MIN_SQUARES = 64
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
    view = _View.of(depth_intrinsics, colour_intrinsics, _checked_transform(depth_to_colour))
    nearest = np.full(colour_intrinsics.height * colour_intrinsics.width, np.inf, np.float32)
    step = max(1, BAND_PIXELS // depth_intrinsics.width)
    for top in range(0, depth_intrinsics.height, step):
        _add_rows(nearest, depth_m[top : top + step], top, view)
    nearest[np.isinf(nearest)] = np.nan
    return nearest.reshape(colour_intrinsics.height, colour_intrinsics.width)


def register_coarsely(
    depth_m: np.ndarray,
    depth_intrinsics: Intrinsics,
    colour_intrinsics: Intrinsics,
    depth_to_colour: np.ndarray | None = None,
) -> np.ndarray:
    """As `register_depth`, but no finer than the depth camera sees, in a fifth of the time.

    The colour image's pixels are taken in squares as large as a depth pixel appears, and all
    pixels of a square have the depth of its nearest. So the outlines of near things may be off by
    a square. Means over an encoder's patches, which are dozens of pixels wide, are the same within
    0.1 % for most and 1 % for nine of ten.
    """
    # At least: an image has a whole number of squares.
    side = math.ceil(_magnification(depth_intrinsics, colour_intrinsics) - 1e-9)
    width, height = (n // side for n in (colour_intrinsics.width, colour_intrinsics.height))
    if side == 1 or min(width, height) < MIN_SQUARES:
        return register_depth(depth_m, depth_intrinsics, colour_intrinsics, depth_to_colour)
    squares = colour_intrinsics.scaled(width, height)
    registered = register_depth(depth_m, depth_intrinsics, squares, depth_to_colour)
    rows, columns = (
        (np.arange(pixels) * count // pixels)
        for pixels, count in ((colour_intrinsics.height, height), (colour_intrinsics.width, width))
    )
    return registered[:, columns][rows]


@dataclass(frozen=True)
class _View:
    """How one camera's pixels appear to another one.

    Pixel (u, v) at depth z is at (x, y, depth) / depth where (x, y, depth) = z across u + z down v
    + z ahead + moved; all float32. larger: how many pixels one appears, across and down.
    """

    across: np.ndarray
    down: np.ndarray
    ahead: np.ndarray
    moved: np.ndarray
    larger: float
    width: int
    height: int

    @classmethod
    def of(cls, source: Intrinsics, target: Intrinsics, transform: np.ndarray) -> _View:
        seen = target.matrix() @ transform[:3, :3] @ np.linalg.inv(source.matrix())
        moved = target.matrix() @ transform[:3, 3]
        parts = (part.astype(np.float32) for part in (*seen.T, moved))
        return cls(*parts, _magnification(source, target), target.width, target.height)

    def project(
        self, u: np.ndarray, v: np.ndarray, z: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pixel coordinates and depth of pixels with depth, arrays that broadcast together."""
        x, y, depth = (
            z * (self.across[i] * u + (self.down[i] * v + self.ahead[i])) + self.moved[i]
            for i in range(3)
        )
        with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
            return x / depth, y / depth, depth

    def samples_per_side(self, u: np.ndarray, v: np.ndarray, z: np.ndarray) -> np.ndarray:
        """How finely each pixel must be cut, by how large it appears; 0 where it is not seen."""
        depth = z * (self.across[2] * u + (self.down[2] * v + self.ahead[2])) + self.moved[2]
        with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
            wanted = np.ceil(self.larger / SAMPLE_SPACING_PX * z / depth - 1e-6)
            wanted = np.clip(wanted, 1, MAX_SAMPLES_PER_SIDE)
        return np.where((z > 0) & (z < np.inf) & (depth > 0), wanted, 0).astype(np.int8)


def _magnification(source: Intrinsics, target: Intrinsics) -> float:
    return max(target.fx / source.fx, target.fy / source.fy)


def _add_rows(nearest: np.ndarray, depth_m: np.ndarray, top: int, view: _View) -> None:
    """Lowers `nearest` by some rows of the depth image, the first of which is number `top`."""
    z = depth_m.astype(np.float32)
    u = np.arange(z.shape[1], dtype=np.float32)[None]
    v = np.arange(top, top + len(z), dtype=np.float32)[:, None]
    per_side = view.samples_per_side(u, v, z)
    wanted = [n for n in range(1, MAX_SAMPLES_PER_SIDE + 1) if (per_side == n).any()]
    for n in wanted:
        chosen = per_side == n
        if len(wanted) == 1:  # all that there is: no need to pick it out
            part = u, v, np.where(chosen, z, np.float32(np.nan))
        else:
            rows, columns = np.nonzero(chosen)
            part = u[0, columns], v[rows, 0], z[chosen]
        for du, dv in _footprint(n):
            _keep_nearest(nearest, *view.project(part[0] + du, part[1] + dv, part[2]), view)


def _footprint(per_side: int) -> Iterator[tuple[float, float]]:
    """Offsets from a pixel's centre to the centres of per_side x per_side equal parts of it."""
    steps = (np.arange(per_side) + 0.5) / per_side - 0.5
    return itertools.product(steps.tolist(), repeat=2)


def _keep_nearest(
    nearest: np.ndarray, x: np.ndarray, y: np.ndarray, depth: np.ndarray, view: _View
) -> None:
    """Lowers `nearest`, the flat image of depths, wherever a sample falls in front of it."""
    column, row = np.floor(x + np.float32(0.5)), np.floor(y + np.float32(0.5))
    inside = (column >= 0) & (column < view.width) & (row >= 0) & (row < view.height)
    inside &= depth > 0
    index = row[inside].astype(np.int64) * view.width + column[inside].astype(np.int64)
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
