"""The encoder's patches as a grid over the camera image, and means over each patch.

Averages are exact in area, also where patch borders cut pixels, and take valid pixels only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tosa_ros.errors import SpatialError

MIN_VALID = 0.25


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


def pool(image: Tensor, grid: PatchGrid) -> Tensor:
    """Sum over each patch, by area: (..., H, W) float -> (..., N)."""
    _check(image.shape[-2:], grid)
    rows, cols = grid.overlaps
    return (rows @ image @ cols.T).flatten(-2)


def pool_colour(rgb: Tensor, grid: PatchGrid) -> Tensor:
    """Sum over each patch, by area: (H, W, 3) uint8 -> (N, 3) float32."""
    _check(rgb.shape[:2], grid)
    rows, cols = grid.overlaps
    bands = (rows @ rgb.reshape(len(rgb), -1).float()).unflatten(1, rgb.shape[1:])
    return torch.einsum('cw,rwk->rck', cols, bands).flatten(0, 1)


def pool_moments(image: Tensor, grid: PatchGrid, x: Tensor, y: Tensor, degree: int) -> Tensor:
    """Sums over each patch, by area, of image * y**i * x**j: (H, W) -> (i, j, N), i, j <= degree.

    x (W,), y (H,): a column's and a row's coordinate. They weigh the patches' borders rather than
    the pixels, so no map of the image's size is made.
    """
    _check(image.shape, grid)
    rows, cols = grid.overlaps
    rows = torch.cat([rows * y**i for i in range(degree + 1)])
    cols = torch.cat([cols * x**j for j in range(degree + 1)])
    sums = rows @ (image @ cols.T)
    each = (degree + 1, grid.rows, degree + 1, grid.cols)
    return sums.reshape(each).transpose(1, 2).flatten(2)


def _check(size: Sequence[int], grid: PatchGrid) -> None:
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
    valid = depth.isfinite()
    area = pool(valid.float(), grid)
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
