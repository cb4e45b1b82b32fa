"""Metric spatial tokens: each patch's centre as a 3-D point in metres.

Similarity of two tokens at distance d is 1 / (1 + (d / s)^2) with the length scale s in metres
(`SpatialTokens.similarity`): 1 at the same point, 1/2 at distance s, and never quite 0, so that
far pairs still have an order. Merged tokens stand at the mean of their patches' points.
"""

from __future__ import annotations

from torch import Tensor

from tosa_ros.spatial.patches import MIN_VALID, PatchGrid, backproject, pool_depth
from tosa_ros.spatial.tokens import SpatialTokens


def metric_tokens(
    depth_m: Tensor,
    camera: Tensor,
    grid: PatchGrid,
    *,
    length_scale_m: float = 0.25,
    min_valid: float = MIN_VALID,
) -> SpatialTokens:
    """Depth (H, W) in metres, NaN where unknown; camera (4,) = fx, fy, cx, cy in pixels."""
    mean = pool_depth(depth_m.float(), grid, min_valid)
    points = backproject(mean, grid.centres, camera.float())
    known = mean.isfinite()
    features = points.masked_fill(~known[:, None], 0.0)
    weight = known.float()
    return SpatialTokens(
        'metric', features[None], weight[None], points[None], length_scale_m, bool(known.all())
    )
