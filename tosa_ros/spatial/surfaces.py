"""Where each patch is and which way its surface faces, from sums over its pixels.

On a plane n . p = c the inverse depth 1/z = (n . (x, y, 1)) / c is linear in the pixel's direction
(x, y, 1), so one small least-squares fit a patch, made of sums over its valid pixels, gives the
normal, whatever the plane's slant.

The sums are exact, and take a camera's full image in one pass, band by band: no map of the image's
size is made, and coordinates weigh the patches' borders rather than the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    fx, fy, cx, cy = camera.unbind()
    # Sums are of small numbers around the patch's centre: float32 is enough.
    centres = (grid.centres - torch.stack([cx, cy])) / torch.stack([fx, fy])
    x = (torch.arange(grid.width) - cx) / fx - centres[: grid.cols, :1]
    y = (torch.arange(grid.height) - cy) / fy - centres[:: grid.cols, 1:]
    rows, cols = grid.overlaps
    weights = torch.stack([rows, rows * y, rows * y * y], dim=1)
    by_row = depth_m.new_zeros(len(rows), 6, grid.width)
    for i, band in bands(grid):
        own = weights[i, :, band]
        inverse = depth_m[band].reciprocal().nan_to_num_(0.0, 0.0, 0.0)
        z = depth_m[band].nan_to_num(0.0, 0.0, 0.0)
        valid = torch.mul(z, inverse).round_()  # 1, or 0 for depths of 0 and infinity too
        m_sums, q_sums, z_sums = by_row[i].split([3, 2, 1])
        torch.mm(own, valid, out=m_sums)
        torch.mm(own[:2], inverse, out=q_sums)
        torch.mm(own[:1], z, out=z_sums)
    columns = torch.stack([cols, cols * x, cols * x * x])
    sums = torch.einsum('rkw,jcw->kjrc', by_row, columns).flatten(2)
    return _Sums(centres=centres, m=sums[:3], q=sums[3:5, :2], z=sums[5, 0])


def _normals(sums: _Sums, points: Tensor) -> Tensor:
    area = sums.m[0, 0].clamp(min=1e-9)
    mx, my, xx, xy, yy = sums.m[[0, 1, 0, 1, 2], [1, 0, 2, 1, 0]] / area
    mq, xq, yq = sums.q[[0, 0, 1], [0, 1, 0]] / area
    xx, xy, yy, xq, yq = xx - mx * mx, xy - mx * my, yy - my * my, xq - mx * mq, yq - my * mq
    determinant = xx * yy - xy * xy
    slants = determinant > FLATTEST * (xx + yy) ** 2
    safe = determinant.where(slants, 1.0)
    a, b = (yy * xq - xy * yq) / safe, (xx * yq - xy * xq) / safe
    x, y = sums.centres.unbind(1)
    slanted = torch.stack([a, b, mq - a * (x + mx) - b * (y + my)], dim=-1)
    facing = slanted.where((slants & slanted[:, 2].isfinite())[:, None], points)
    # A plane through the camera cannot be seen: a fit that says so is of mixed surfaces.
    towards = (facing * points).sum(dim=-1, keepdim=True)
    facing = facing.where(towards > 0, points)
    return torch.nn.functional.normalize(facing, dim=-1)
