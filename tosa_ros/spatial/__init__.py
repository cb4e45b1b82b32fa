"""Depth and camera -> spatial tokens, on the encoder's patch grid. Imports torch alone."""

from tosa_ros.spatial.levels import level_tokens, relative_from_metric
from tosa_ros.spatial.measures import depth_spread, edge_straddle
from tosa_ros.spatial.metric import metric_tokens, patch_points
from tosa_ros.spatial.patches import PatchGrid, backproject, pool, pool_colour, pool_depth
from tosa_ros.spatial.tokens import SpatialTokens, stack

__all__ = [
    'PatchGrid',
    'SpatialTokens',
    'backproject',
    'depth_spread',
    'edge_straddle',
    'level_tokens',
    'metric_tokens',
    'patch_points',
    'pool',
    'pool_colour',
    'pool_depth',
    'relative_from_metric',
    'stack',
]
