"""The encoder's patches as a grid over the camera image, and means over each patch.

Averages are exact in area, also where patch borders cut pixels, and take valid pixels only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from tosa_ros.errors import SpatialError

MIN_VALID = 0.25
BAND_PIXELS = 40_000  # as many as are worth a loop's turn; float32 maps of them stay in the cache


@dataclass(frozen=True)
class PatchGrid:
    """rows x cols patches that tile a box of the camera image, row by row.

    left, top, right, bottom: the box in pixels, 0 at the outer edge of the first pixel. It may
    reach beyond the image (padding) or leave parts of it out (cropping).
    width, height: of the camera image.
    """

    rows: int
    cols: int
    left: float
    top: float
    right: float
    bottom: float
    width: int
    height: int

    @classmethod
    def over(cls, rows: int, cols: int, width: int, height: int) -> PatchGrid:
        """A grid over the whole of a width x height image."""
        return cls(rows, cols, 0.0, 0.0, float(width), float(height), width, height)

    def finer(self, parts: int) -> PatchGrid:
        """The same box, each patch cut into parts x parts."""
        return self if parts == 1 else _finer(self, parts)

    @property
    def patches(self) -> int:
        return self.rows * self.cols

    @cached_property
    def centres(self) -> Tensor:
        """(N, 2) float32: (u, v) of each patch's centre; whole numbers are pixel centres."""
        u = self._edges(self.left, self.right, self.cols)
        v = self._edges(self.top, self.bottom, self.rows)
        u, v = (u[1:] + u[:-1]) / 2 - 0.5, (v[1:] + v[:-1]) / 2 - 0.5
        v, u = torch.meshgrid(v, u, indexing='ij')
        return torch.stack([u, v], dim=-1).reshape(-1, 2).float()

    @cached_property
    def overlaps(self) -> tuple[Tensor, Tensor]:
        """(rows, H) and (cols, W) float32: length of pixel j that lies in patch i."""
        return (
            self._overlap(self.top, self.bottom, self.rows, self.height),
            self._overlap(self.left, self.right, self.cols, self.width),
        )

    @cached_property
    def area(self) -> Tensor:
        """(N,) float32: square pixels of each patch that lie in the image."""
        rows, cols = self.overlaps
        return torch.outer(rows.sum(dim=1), cols.sum(dim=1)).flatten()

    @property
    def patch_area(self) -> float:
        """Square pixels of one patch."""
        box = (self.right - self.left) * (self.bottom - self.top)
        return box / self.patches

    @staticmethod
    def _edges(low: float, high: float, count: int) -> Tensor:
        return torch.linspace(low, high, count + 1, dtype=torch.float64)

    def _overlap(self, low: float, high: float, count: int, pixels: int) -> Tensor:
        edges = self._edges(low, high, count)[:, None]
        pixel = torch.arange(pixels, dtype=torch.float64)[None]
        inside = torch.minimum(edges[1:], pixel + 1) - torch.maximum(edges[:-1], pixel)
        return inside.clamp(min=0).float()


@lru_cache(maxsize=16)  # a camera's frames are of one size
def _finer(grid: PatchGrid, parts: int) -> PatchGrid:
    return replace(grid, rows=parts * grid.rows, cols=parts * grid.cols)


def finite(x: Tensor) -> Tensor:
    """1 where a number is finite, else 0, float32. On a CPU, isfinite takes ten times as long."""
    return (x * 0).add_(1).nan_to_num_(0.0)


def pool(image: Tensor, grid: PatchGrid) -> Tensor:
    """Sum over each patch, by area: (..., H, W) float -> (..., N)."""
    check_size(image.shape[-2:], grid)
    rows, cols = grid.overlaps
    return (rows @ image @ cols.T).flatten(-2)


def pool_colour(rgb: Tensor, grid: PatchGrid) -> Tensor:
    """Sum over each patch, by area: (H, W, 3) uint8 -> (N, 3) float32."""
    check_size(rgb.shape[:2], grid)
    rows, cols = grid.overlaps
    by_row = torch.zeros(len(rows), rgb.shape[1] * 3)
    for own, band in bands(grid):
        torch.mm(rows[own, band], rgb[band].flatten(1).float(), out=by_row[own])
    return torch.einsum('cw,rwk->rck', cols, by_row.unflatten(1, rgb.shape[1:])).flatten(0, 1)


def bands(grid: PatchGrid) -> Iterator[tuple[slice, slice]]:
    """A few rows of patches, and the pixel rows that they cover, wholly or in part; none outside.

    What is made of one band stays in the cache, and a band has the weights of its own rows alone.
    """
    edges = torch.linspace(grid.top, grid.bottom, grid.rows + 1, dtype=torch.float64).tolist()
    row_pixels = grid.width * (grid.bottom - grid.top) / grid.rows
    step = max(1, int(BAND_PIXELS / row_pixels))
    for start in range(0, grid.rows, step):
        stop = min(start + step, grid.rows)
        first, last = max(0, math.floor(edges[start])), min(grid.height, math.ceil(edges[stop]))
        if first < last:
            yield slice(start, stop), slice(first, last)


def check_size(size: Sequence[int], grid: PatchGrid) -> None:
    """Raises SpatialError if an image is not (height, width) = `size` as the grid's is."""
    height, width = size
    if (height, width) != (grid.height, grid.width):
        raise SpatialError(
            f'image of {width}x{height} pixels on a patch grid made for '
            f'{grid.width}x{grid.height}; make the grid for this image'
        )


def pool_depth(depth: Tensor, grid: PatchGrid, min_valid: float = MIN_VALID) -> Tensor:
    """Mean of each patch's valid pixels: (H, W), NaN where invalid -> (N,).

    A patch with less than `min_valid` of its area valid is NaN; invalid pixels never blend in.
    """
    area = pool(finite(depth), grid)
    mean = pool(depth.nan_to_num(0.0, 0.0, 0.0), grid) / area
    return mean.masked_fill(area < max(min_valid * grid.patch_area, 1e-6), float('nan'))


def backproject(depth_m: Tensor, uv: Tensor, camera: Tensor) -> Tensor:
    """Points in the camera's optical frame: depth (N,) metres, uv (N, 2) pixels -> (N, 3) metres.

    camera (4,): fx, fy, cx, cy in pixels. NaN depth gives NaN points.
    """
    fx, fy, cx, cy = camera.unbind()
    if not bool((camera[:2] > 0).all()):
        raise SpatialError(f'focal lengths fx={fx:g}, fy={fy:g}; wanted numbers above 0')
    x = (uv[:, 0] - cx) / fx * depth_m
    y = (uv[:, 1] - cy) / fy * depth_m
    return torch.stack([x, y, depth_m], dim=-1)
