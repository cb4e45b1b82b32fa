"""Depth and camera -> spatial tokens, on the encoder's patch grid. Imports torch alone."""

from tosa_ros.spatial.levels import level_tokens, levelled_tokens, relative_from_metric
from tosa_ros.spatial.measures import depth_spread, edge_straddle
from tosa_ros.spatial.metric import metric_tokens, patch_points, surface_tokens
from tosa_ros.spatial.patches import PatchGrid, backproject, pool, pool_colour, pool_depth
from tosa_ros.spatial.surfaces import patch_surfaces
from tosa_ros.spatial.tokens import SpatialTokens, stack

__all__ = [
    'PatchGrid',
    'SpatialTokens',
    'backproject',
    'depth_spread',
    'edge_straddle',
    'level_tokens',
    'levelled_tokens',
    'metric_tokens',
    'patch_points',
    'patch_surfaces',
    'pool',
    'pool_colour',
    'pool_depth',
    'relative_from_metric',
    'stack',
    'surface_tokens',
]
