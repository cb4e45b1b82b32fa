"""Every setting once: name, default, range, help. The command line, the nodes' parameters, launch
arguments, the documents' tables and the merging methods themselves read it.

Imports neither torch nor rclpy.
"""

from tosa_ros.settings.graph import GRAPH, node_choices
from tosa_ros.settings.kinds import Choice, Either, Flag, Kind, Maybe, Number, Numbers
from tosa_ros.settings.merging import METHOD, METHODS, SETTINGS
from tosa_ros.settings.nodes import (
    ATTENTION,
    COMPILE,
    DEPTH_SOURCES,
    DEVICE,
    DEVICE_MAP,
    DRAWING,
    DTYPE,
    MAX_NEW_TOKENS,
    MODEL,
    NODES,
    QUANTIZE,
    REVISION,
    SEED,
    SYNC_SLOP,
    SYSTEM,
    TEMPERATURE,
    TILES,
    TOP_P,
    TOWER,
    TRAINED_FRAMES,
    chosen_weights,
    node_settings,
)
from tosa_ros.settings.setting import Setting

AUTO = 'auto'  # of a batch: as large as fits into memory

__all__ = [
    'ATTENTION',
    'AUTO',
    'COMPILE',
    'DEPTH_SOURCES',
    'DEVICE',
    'DEVICE_MAP',
    'DRAWING',
    'DTYPE',
    'GRAPH',
    'MAX_NEW_TOKENS',
    'METHOD',
    'METHODS',
    'MODEL',
    'NODES',
    'QUANTIZE',
    'REVISION',
    'SEED',
    'SETTINGS',
    'SYNC_SLOP',
    'SYSTEM',
    'TEMPERATURE',
    'TILES',
    'TOP_P',
    'TOWER',
    'TRAINED_FRAMES',
    'Choice',
    'Either',
    'Flag',
    'Kind',
    'Maybe',
    'Number',
    'Numbers',
    'Setting',
    'chosen_weights',
    'node_choices',
    'node_settings',
]
