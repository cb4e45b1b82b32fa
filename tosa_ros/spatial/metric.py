"""Metric spatial tokens: each patch's centre as a 3-D point in metres, and its surface's normal.

Two tokens are alike when they lie on one surface: a floor, a wall, the same side of a box. With d
the distance of either from the other's plane, the larger of the two, their similarity is
1 / (1 + (d / s)^2) with the length scale s in metres, but for a small part for how far apart they
are (`SpatialTokens.similarity`). It is never quite 0, so that far pairs still have an order.
Merged tokens have the mean of their patches' points and normals.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tosa_ros.spatial.patches import MIN_VALID, PatchGrid, backproject, pool_depth
from tosa_ros.spatial.surfaces import patch_normals
from tosa_ros.spatial.tokens import LENGTH_SCALE_M, SpatialTokens


def metric_tokens(
    depth_m: Tensor,
    camera: Tensor,
    grid: PatchGrid,
    *,
    length_scale_m: float = LENGTH_SCALE_M,
    min_valid: float = MIN_VALID,
) -> SpatialTokens:
    """Depth (H, W) in metres, NaN where unknown; camera (4,) = fx, fy, cx, cy in pixels."""
    depth_m, camera = depth_m.float(), camera.float()
    mean = pool_depth(depth_m, grid, min_valid)
    points = backproject(mean, grid.centres, camera)
    known = mean.isfinite()
    normals = patch_normals(depth_m, camera, grid, points, min_valid)
    features = torch.cat([points, normals], dim=-1).masked_fill(~known[:, None], 0.0)
    weight = known.float()
    return SpatialTokens(
        'metric', features[None], weight[None], points[None], length_scale_m, bool(known.all())
    )
