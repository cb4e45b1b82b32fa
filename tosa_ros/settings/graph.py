"""What a user chooses of the graph of nodes as a whole: for the launch files and `tosa up`."""

from __future__ import annotations

from tosa_ros.settings.kinds import Choice, Flag, Kind, Maybe
from tosa_ros.settings.merging import METHOD, SETTINGS
from tosa_ros.settings.nodes import (
    ATTENTION,
    COMPILE,
    DEPTH_MODEL,
    DEPTH_SCALE,
    DEPTH_SOURCES,
    DEPTH_TRANSPORT,
    DEVICE,
    DEVICE_MAP,
    DTYPE,
    EXTRINSIC,
    FRAMES,
    IMAGE_TRANSPORT,
    MAP_FRAME,
    MODEL,
    QUANTIZE,
    RECTIFIED,
    REGISTER,
    REVISION,
    SYNC_SLOP,
    TILES,
    TOWER,
)
from tosa_ros.settings.setting import Setting

FROM_FILE = 'what the parameter file says'
LOG_LEVELS = ('debug', 'info', 'warn', 'error', 'fatal')

# Each is a field of `ros.bringup.Graph`.
GRAPH = (
    Setting(
        'camera',
        None,
        Maybe(Kind(), 'none'),
        'A camera of config/cameras.yaml, or FILE.yaml:NAME of a file like it: its topics and '
        'settings hold where no others are given.',
    ),
    Setting('image_topic', None, Maybe(Kind(), 'image'), 'The colour image.'),
    Setting(
        'depth_topic',
        None,
        Maybe(Kind(), 'sensor_depth'),
        "The sensor's depth, aligned to colour (or see register).",
    ),
    Setting('camera_info_topic', None, Maybe(Kind(), 'camera_info'), "The colour camera's info."),
    Setting(
        'depth_camera_info_topic',
        None,
        Maybe(Kind(), 'depth_camera_info'),
        "The depth camera's info, for register.",
    ),
    Setting(
        'depth_source',
        None,
        Maybe(Choice((*DEPTH_SOURCES, 'none')), FROM_FILE),
        'Where depth comes from; none: colour alone, no depth_node.',
    ),
    Setting('params_file', None, Maybe(Kind(), 'config/vqa.yaml'), 'Parameters of all nodes.'),
    Setting(
        'namespace',
        '',
        Kind(),
        'Namespace of the nodes and of their relative topics.',
    ),
    Setting(
        'use_sim_time',
        None,
        Maybe(Flag(), FROM_FILE),
        'Time comes from /clock (a bag, a simulation).',
    ),
    Setting(
        'autostart',
        None,
        Maybe(Flag(), FROM_FILE),
        'If off, a lifecycle manager configures and activates the nodes.',
    ),
    Setting('log_level', 'info', Choice(LOG_LEVELS), 'Lowest severity that the nodes log.'),
)

# How images come; the nodes' settings that a camera has.
STREAMS = (
    IMAGE_TRANSPORT, DEPTH_TRANSPORT, DEPTH_SCALE, REGISTER, EXTRINSIC, RECTIFIED, SYNC_SLOP,
    DEPTH_MODEL, FRAMES,
)  # fmt: skip


def node_choices() -> dict[str, Setting]:
    """The nodes' settings that a graph is started with, by name; the others are in the file."""
    weights = (QUANTIZE, ATTENTION, REVISION, DEVICE_MAP)
    model = (MODEL, DEVICE, DTYPE, *weights, TILES, TOWER, COMPILE)
    rows = (*model, *STREAMS, MAP_FRAME, METHOD, *SETTINGS.loaded().values())
    return {row.name: row for row in rows}
