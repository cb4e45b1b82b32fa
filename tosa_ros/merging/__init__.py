"""Token merging as pure tensor functions: matching, combining, schedules, the methods.

Knows no model and no camera; imports torch alone. `vision` applies it inside an encoder.
"""

from tosa_ros.merging.by_name import METHODS, method_from, settings_of, shared_out
from tosa_ros.merging.combine import Groups, average, mlerp
from tosa_ros.merging.matching import Match, Sides, cosine, match_bipartite, match_energy, sides
from tosa_ros.merging.methods import MergingMethod, NoMerging, PiToMe, ToFu, ToMe, ToSA
from tosa_ros.merging.schedule import alpha_at, removals
from tosa_ros.merging.spatial_tokens import SpatialTokens
from tosa_ros.merging.state import MergeState, merge_layer, unmerge

__all__ = [
    'METHODS',
    'Groups',
    'Match',
    'MergeState',
    'MergingMethod',
    'NoMerging',
    'PiToMe',
    'Sides',
    'SpatialTokens',
    'ToFu',
    'ToMe',
    'ToSA',
    'alpha_at',
    'average',
    'cosine',
    'match_bipartite',
    'match_energy',
    'merge_layer',
    'method_from',
    'mlerp',
    'removals',
    'settings_of',
    'shared_out',
    'sides',
    'unmerge',
]
