"""Where each patch is and which way its surface faces, from sums over its pixels.

On a plane n . p = c the inverse depth 1/z = (n . (x, y, 1)) / c is linear in the pixel's direction
(x, y, 1), so one small least-squares fit a patch, made of sums over its valid pixels, gives the
normal, whatever the plane's slant.

The sums are exact, and take a camera's full image in one pass, band by band: no map of the image's
size is made, and coordinates weigh the patches' borders rather than the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from tosa_ros.spatial.patches import MIN_VALID, PatchGrid, backproject, bands, check_size

FLATTEST = 1e-6  # of the spread of directions within a patch, below which it has no slant


def patch_surfaces(
    depth_m: Tensor, camera: Tensor, grid: PatchGrid, min_valid: float = MIN_VALID
) -> tuple[Tensor, Tensor]:
    """Points (N, 3) metres and unit normals (N, 3), in the camera's optical frame.

    depth_m (H, W) metres, NaN where unknown; camera (4,) = fx, fy, cx, cy in pixels. A patch with
    less than `min_valid` of its area valid is NaN. Normals point away from the camera; a patch
    whose pixels show no slant is taken to face it: its normal is the direction to its point.
    """
    sums = _sums(depth_m.float(), camera.float(), grid)
    known = sums.m[0, 0] >= max(min_valid * grid.patch_area, 1e-6)
    mean = (sums.z / sums.m[0, 0]).masked_fill(~known, float('nan'))
    points = backproject(mean, grid.centres, camera.float())
    return points, _normals(sums, points)


@dataclass(frozen=True)
class _Sums:
    """Sums over each patch's valid pixels, by area, with directions x and y.

    centres (N, 2): x and y of the patches' centres, from which those of pixels are counted.
    m (3, 3, N): of y**i x**j. q (2, 2, N): of the same times 1/z. z (N,): of z.
    """

    centres: Tensor
    m: Tensor
    q: Tensor
    z: Tensor


def _sums(depth_m: Tensor, camera: Tensor, grid: PatchGrid) -> _Sums:
    check_size(depth_m.shape, grid)
    weights, columns, centres = _weights(grid, *camera.tolist())
    # For each row of patches and power of y, sums along the columns of pixels.
    m_rows, q_rows, z_rows = (depth_m.new_zeros(len(w), grid.width) for w in weights)
    pieces = list(bands(grid))
    tallest = max((band.stop - band.start for _, band in pieces), default=0)
    # Made anew for each band, maps of this size would be new pages of memory each time.
    scratch = depth_m.new_empty(3, tallest, grid.width)
    for rows, band in pieces:
        depth = depth_m[band]
        valid, inverse, z = scratch[:, : len(depth)].unbind()
        torch.nan_to_num(depth, 0.0, 0.0, 0.0, out=z)
        torch.reciprocal(z, out=inverse).nan_to_num_(0.0, 0.0, 0.0)
        torch.sign(z, out=valid)
        for weight, image, sums in zip(
            weights, (valid, inverse, z), (m_rows, q_rows, z_rows), strict=True
        ):
            powers = len(weight) // grid.rows
            own = slice(powers * rows.start, powers * rows.stop)
            torch.mm(weight[own, band], image, out=sums[own])
    m, q, z = (
        torch.mm(sums, columns[:, : len(weight) // grid.rows * grid.cols])
        for sums, weight in zip((m_rows, q_rows, z_rows), weights, strict=True)
    )
    return _Sums(centres=centres, m=_by_power(m, 3, grid), q=_by_power(q, 2, grid), z=z.flatten())


def _by_power(sums: Tensor, powers: int, grid: PatchGrid) -> Tensor:
    """(rows * powers of y, powers of x * cols) -> (powers of y, powers of x, N)."""
    split = sums.view(grid.rows, powers, powers, grid.cols)
    return split.permute(1, 2, 0, 3).flatten(2)


@lru_cache(maxsize=8)  # a camera's frames are of one size
def _weights(
    grid: PatchGrid, fx: float, fy: float, cx: float, cy: float
) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
    """What sums are weighted by: of rows, of columns; and `_Sums.centres`.

    Lengths within a patch, by direction to the power of 0, 1 and 2. Of rows: for maps that take 3,
    2 and 1 powers, (rows * powers, H) each; of columns (W, 3 * cols). Directions are counted from
    the patch's centre: of small numbers, float32 sums are exact enough.
    """
    centres = (grid.centres - torch.tensor([cx, cy])) / torch.tensor([fx, fy])
    x = (torch.arange(grid.width) - cx) / fx - centres[: grid.cols, :1]
    y = (torch.arange(grid.height) - cy) / fy - centres[:: grid.cols, 1:]
    rows, cols = grid.overlaps
    weights = torch.stack([rows, rows * y, rows * y * y], dim=1)
    columns = torch.stack([cols, cols * x, cols * x * x]).flatten(0, 1).T.contiguous()
    return tuple(weights[:, :n].flatten(0, 1) for n in (3, 2, 1)), columns, centres


def _normals(sums: _Sums, points: Tensor) -> Tensor:
    area = sums.m[0, 0].clamp(min=1e-9)
    (_, mx, xx), (my, xy, _), (yy, _, _) = (row.unbind() for row in sums.m / area)
    (mq, xq), (yq, _) = (row.unbind() for row in sums.q / area)
    xx, xy, yy = _minus(xx, mx, mx), _minus(xy, mx, my), _minus(yy, my, my)
    xq, yq = _minus(xq, mx, mq), _minus(yq, my, mq)
    determinant = _minus(xx * yy, xy, xy)
    slants = determinant > FLATTEST * (xx + yy).square()
    safe = determinant.where(slants, 1.0)
    a, b = _minus(yy * xq, xy, yq) / safe, _minus(xx * yq, xy, xq) / safe
    x, y = sums.centres.unbind(1)
    slanted = torch.stack([a, b, _minus(_minus(mq, a, x + mx), b, y + my)], dim=-1)
    # A plane through the camera cannot be seen: a fit that says so is of mixed surfaces.
    towards = (slanted * points).sum(dim=-1)
    sound = slants & (towards > 0) & (towards < float('inf'))
    return torch.nn.functional.normalize(slanted.where(sound[:, None], points), dim=-1)


def _minus(whole: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """whole - a * b."""
    return torch.addcmul(whole, a, b, value=-1)
