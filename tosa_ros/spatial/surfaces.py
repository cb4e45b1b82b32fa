"""Which way each patch's surface faces: a plane fitted to the inverse depth of its pixels.

On a plane n . p = c the inverse depth 1/z = (n . (x, y, 1)) / c is linear in the pixel's direction
(x, y, 1), so one small least-squares fit a patch, made of sums over its valid pixels, gives the
normal, whatever the plane's slant.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tosa_ros.spatial.patches import MIN_VALID, PatchGrid, pool

FLATTEST = 1e-6  # of the spread of directions within a patch, below which it has no slant


def patch_normals(
    depth_m: Tensor, camera: Tensor, grid: PatchGrid, points: Tensor, min_valid: float = MIN_VALID
) -> Tensor:
    """(N, 3) unit normals in the camera's optical frame, pointing away from the camera.

    depth_m (H, W) metres, NaN where unknown; camera (4,) = fx, fy, cx, cy in pixels; points (N, 3)
    metres, NaN where unknown. A patch whose pixels show no slant is taken to face the camera:
    its normal is the direction to its point. NaN where the point is.
    """
    fx, fy, cx, cy = camera.unbind()
    v, u = torch.meshgrid(
        torch.arange(depth_m.shape[0], dtype=torch.float32),
        torch.arange(depth_m.shape[1], dtype=torch.float32),
        indexing='ij',
    )
    # Sums are of small numbers around the middle of the image: float32 is enough.
    x, y = (u - cx) / fx, (v - cy) / fy
    inverse = 1 / depth_m
    valid = inverse.isfinite()
    middle = inverse[valid].mean() if bool(valid.any()) else inverse.new_zeros(())
    q = torch.where(valid, inverse - middle, 0.0)
    m = valid.float()
    maps = torch.stack([m, m * x, m * y, m * x * x, m * x * y, m * y * y, q, q * x, q * y])
    sums = pool(maps, grid)
    area = sums[0].clamp(min=1e-9)
    mx, my, xx, xy, yy, mq, xq, yq = sums[1:] / area
    xx, xy, yy, xq, yq = xx - mx * mx, xy - mx * my, yy - my * my, xq - mx * mq, yq - my * mq
    determinant = xx * yy - xy * xy
    known = (sums[0] >= min_valid * grid.patch_area) & (determinant > FLATTEST * (xx + yy) ** 2)
    safe = determinant.where(known, 1.0)
    a, b = (yy * xq - xy * yq) / safe, (xx * yq - xy * xq) / safe
    slanted = torch.stack([a, b, mq + middle - a * mx - b * my], dim=-1)
    facing = torch.where((known & (slanted[:, 2].isfinite()))[:, None], slanted, points)
    # A plane through the camera cannot be seen: a fit that says so is of mixed surfaces.
    towards = (facing * points).sum(dim=-1, keepdim=True)
    facing = facing.where(towards > 0, points)
    return torch.nn.functional.normalize(facing, dim=-1)
