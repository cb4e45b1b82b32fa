"""Which way each patch's surface faces: a plane fitted to the inverse depth of its pixels.

On a plane n . p = c the inverse depth 1/z = (n . (x, y, 1)) / c is linear in the pixel's direction
(x, y, 1), so one small least-squares fit a patch, made of sums over its valid pixels, gives the
normal, whatever the plane's slant.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tosa_ros.spatial.patches import MIN_VALID, PatchGrid, pool_moments

SAMPLED = 64  # pixels a side, to find the middle of an image's inverse depths
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
    # Sums are of small numbers around the middle of the image: float32 is enough.
    x = (torch.arange(grid.width, dtype=torch.float32) - cx) / fx
    y = (torch.arange(grid.height, dtype=torch.float32) - cy) / fy
    inverse = depth_m.reciprocal()
    valid = inverse.isfinite()
    middle = _middle(inverse)
    m = pool_moments(valid.float(), grid, x, y, 2)
    q = pool_moments(inverse.sub_(middle).nan_to_num_(0.0, 0.0, 0.0), grid, x, y, 1)
    area = m[0, 0]
    mx, my, xx, xy, yy = m[[0, 1, 0, 1, 2], [1, 0, 2, 1, 0]] / area.clamp(min=1e-9)
    mq, xq, yq = q[[0, 0, 1], [0, 1, 0]] / area.clamp(min=1e-9)
    xx, xy, yy, xq, yq = xx - mx * mx, xy - mx * my, yy - my * my, xq - mx * mq, yq - my * mq
    determinant = xx * yy - xy * xy
    known = (area >= min_valid * grid.patch_area) & (determinant > FLATTEST * (xx + yy) ** 2)
    safe = determinant.where(known, 1.0)
    a, b = (yy * xq - xy * yq) / safe, (xx * yq - xy * xq) / safe
    slanted = torch.stack([a, b, mq + middle - a * mx - b * my], dim=-1)
    facing = torch.where((known & (slanted[:, 2].isfinite()))[:, None], slanted, points)
    # A plane through the camera cannot be seen: a fit that says so is of mixed surfaces.
    towards = (facing * points).sum(dim=-1, keepdim=True)
    facing = facing.where(towards > 0, points)
    return torch.nn.functional.normalize(facing, dim=-1)


def _middle(inverse: Tensor) -> Tensor:
    """About the middle of the inverse depths: what is left around it is small."""
    step = max(1, max(inverse.shape) // SAMPLED)
    sample = inverse[::step, ::step]
    return torch.where(sample.isfinite(), sample, float('nan')).nanmean().nan_to_num()
