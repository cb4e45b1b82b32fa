"""Every setting of the three nodes, and of what else loads a model: the rest of the tables.

The nodes declare these as parameters; docs/ros.md and config/vqa.yaml are written from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tosa_ros.settings.kinds import Choice, Flag, Kind, Maybe, Number, Numbers
from tosa_ros.settings.merging import MERGING, METHOD, SETTINGS
from tosa_ros.settings.setting import Setting

MODEL = Setting(
    'model',
    '',
    Kind(),
    'A checkpoint folder or a Hugging Face name. Empty is the embedded model. Give vision_node '
    'and qa_node the same one.',
    read_only=True,
)
DEVICE = Setting(
    'device',
    'auto',
    Kind(),
    "The model's device, as torch names it: cpu, cuda, cuda:1, mps; auto: the best available.",
    read_only=True,
)
DTYPE = Setting(
    'dtype',
    'auto',
    Choice(('auto', 'float32', 'bfloat16', 'float16')),
    "The weights' precision; auto is the checkpoint's own (bfloat16 for float16 on a CPU).",
    read_only=True,
)
TILES = Setting(
    'tiles',
    False,
    Flag(),
    "Cut each frame into the tiles that the model's own image processor makes, beside the whole: "
    'more detail, and several times the tokens and the time (docs/models.md says which models '
    'have them).',
    read_only=True,
)
QUANTIZE = Setting(
    'quantize',
    'none',
    Choice(('none', 'int8', 'int4')),
    'Bits of the weights: int8 takes half of the memory of bfloat16, int4 less than a third; '
    'docs/models.md has the times (needs the extra quantize).',
    read_only=True,
)
ATTENTION = Setting(
    'attn',
    'auto',
    Choice(
        (
            'auto',
            'sdpa',
            'eager',
            'flex_attention',
            'flash_attention_2',
            'flash_attention_3',
        )
    ),
    'How attention is computed, as transformers names it. flash and flex cannot weight merged '
    "tokens: they are for language models, and for towers that don't merge.",
    read_only=True,
)
REVISION = Setting(
    'revision',
    '',
    Kind(),
    'Branch, tag or commit of a Hugging Face name; empty is its main branch.',
    read_only=True,
)
DEVICE_MAP = Setting(
    'device_map',
    'none',
    Choice(('none', 'auto')),
    "auto: spread the language model's layers over all GPUs and the memory (needs the extra "
    'device-map). The vision half stays on the device.',
    read_only=True,
)
TOWER = Setting(
    'tower',
    '',
    Kind(),
    'A file that `tosa export` made of the model: .onnx, .xml or .pt2. It sees in place of the '
    "model's vision half; method and keep must be those that it was exported with.",
    read_only=True,
)
COMPILE = Setting(
    'compile',
    False,
    Flag(),
    'Compile the vision tower (torch.compile), on a GPU with CUDA graphs: faster, but the first '
    'frame, and the first after another method or kind of depth, takes a minute or more.',
    read_only=True,
)
MAX_NEW_TOKENS = Setting(
    'max_new_tokens', 64, Number(1, 4096, whole=True), 'Largest number of tokens in an answer.'
)
TEMPERATURE = Setting(
    'temperature',
    0.0,
    Number(0, 10),
    '0 takes the likeliest word each time. Above that words are drawn, the more freely the '
    'larger it is.',
)
TOP_P = Setting(
    'top_p',
    1.0,
    Number(0, 1, above=True),
    'Words are drawn of the likeliest that together have this probability, where temperature is '
    'above 0.',
)
SEED = Setting(
    'seed',
    0,
    Number(0, 2**63 - 1, whole=True),
    'What is drawn where temperature is above 0: the same number gives the same words.',
)
# What an answer's words are drawn by.
DRAWING = (TEMPERATURE, TOP_P, SEED)
SYSTEM = Setting(
    'system',
    '',
    Kind(),
    'Instructions before the frames and the question, such as "Answer in one word.", of models '
    'whose chat template has a place for them.',
)
TRAINED_FRAMES = Setting(
    'trained_frames',
    None,
    Maybe(Number(1, 1024, whole=True), "what the checkpoint's config says, else any number"),
    'Largest number of frames a question that the model was trained on. More frames share the '
    'positions of that many, and the answer says so.',
    read_only=True,
)
# One value, live and for bags: half a frame at 15 Hz and some more, as free-running streams need.
SYNC_SLOP = Setting(
    'sync_slop_s',
    0.05,
    Number(0, 1),
    'Largest difference between the stamps of colour and depth in one frame. The nearest is '
    'taken, even if it is yet to come.',
    unit='s',
)
DEPTH_SOURCES = ('sensor', 'monocular')

_AUTOSTART = Setting(
    'autostart',
    True,
    Flag(),
    'Configure and activate the node by itself. If off, a lifecycle manager does it.',
    read_only=True,
)
IMAGE_TRANSPORT = Setting(
    'image_transport',
    'raw',
    Choice(('raw', 'zstd', 'ffmpeg', 'foxglove', 'compressed')),
    'How colour comes: raw is sensor_msgs/Image on image; compressed and zstd are '
    'CompressedImage on image/compressed and image/zstd; ffmpeg and foxglove are video, '
    'FFMPEGPacket on image/ffmpeg and CompressedVideo on image/foxglove (needs PyAV).',
    read_only=True,
)
DEPTH_TRANSPORT = Setting(
    'depth_transport',
    'raw',
    Choice(('raw', 'compressedDepth', 'zstd', 'compressed')),
    'How sensor depth comes: raw is sensor_msgs/Image on sensor_depth; the others are '
    'CompressedImage on sensor_depth/compressedDepth (PNG or RVL), sensor_depth/zstd, and '
    'sensor_depth/compressed (PNG).',
    read_only=True,
)
DEPTH_SCALE = Setting(
    'depth_scale',
    1000.0,
    Number(1, 1e6),
    'Units per metre of a 16UC1 depth image: 1000 (millimetres) by REP 118. 32FC1 is always '
    'in metres.',
)
REGISTER = Setting(
    'register',
    False,
    Flag(),
    "Move sensor depth into the colour camera's pixels, by depth_camera_info, camera_info and "
    'extrinsic. Leave it off if the driver aligns depth to colour.',
    read_only=True,
)
EXTRINSIC = Setting(
    'extrinsic',
    None,
    Maybe(Numbers(Number(), count=7), 'what /tf_static says'),
    "The depth camera's pose in the colour camera's optical frame, for register: x, y, z in "
    'metres and a quaternion x, y, z, w (`ros2 run tf2_ros tf2_echo COLOUR DEPTH`).',
    read_only=True,
)
RECTIFIED = Setting(
    'rectified',
    False,
    Flag(),
    'The colour image is rectified, so that P of camera_info holds, not K.',
    read_only=True,
)
DEPTH_MODEL = Setting(
    'depth_model',
    '',
    Kind(),
    'The monocular estimator: a checkpoint folder or a Hugging Face name, such as '
    'depth-anything/Depth-Anything-V2-Small-hf; a .pth file of the authors of Depth Anything, '
    'or its URL with #sha256=; NAME:MODEL is of an estimator that another package brings. '
    'Empty is the embedded one.',
    read_only=True,
)
FRAMES = Setting(
    'frames', 1, Number(1, 64, whole=True), 'Number of frames that a question is about.'
)
MAP_FRAME = Setting(
    'map_frame',
    'map',
    Kind(),
    'The frame of the poses in answers, found on /tf and /tf_static. Empty: no poses.',
    read_only=True,
)
_MAX_RATE = Setting(
    'max_rate',
    10.0,
    Number(0, 1000),
    'Largest number of frames a second; 0 is no limit. Older frames that wait are dropped, never '
    'queued.',
    unit='Hz',
)

DEPTH_NODE = (
    _AUTOSTART,
    Setting(
        'source',
        'sensor',
        Choice(DEPTH_SOURCES),
        'sensor: a depth camera on sensor_depth. monocular: an estimate of image by depth_model.',
        read_only=True,
    ),
    DEPTH_TRANSPORT,
    DEPTH_SCALE,
    Setting(
        'min_depth_m', 0.1, Number(0, 1000), 'Sensor depth nearer than this is invalid.', unit='m'
    ),
    Setting(
        'max_depth_m',
        20.0,
        Number(0, 1000),
        'Sensor depth farther than this is invalid.',
        unit='m',
    ),
    REGISTER,
    EXTRINSIC,
    Setting(
        'extrinsic_timeout_s',
        5.0,
        Number(0.1, 3600),
        'How long register waits for the transform on /tf_static before that is a fault; it goes '
        'on waiting.',
        unit='s',
        read_only=True,
    ),
    RECTIFIED,
    DEPTH_MODEL,
    IMAGE_TRANSPORT,
    DEVICE,
    _MAX_RATE,
)

VISION_NODE = (
    _AUTOSTART,
    MODEL,
    DEVICE,
    DTYPE,
    QUANTIZE,
    ATTENTION,
    REVISION,
    TILES,
    TOWER,
    COMPILE,
    METHOD,
    *MERGING,
    Setting(
        'use_depth',
        True,
        Flag(),
        'Merge by depth too. If off, the node does not subscribe to depth, and tokens merge by '
        'appearance.',
        read_only=True,
    ),
    DEPTH_SCALE,
    SYNC_SLOP,
    Setting(
        'depth_timeout_s',
        1.0,
        Number(0.05, 3600),
        'After this long without depth, frames go on without it: tokens merge by appearance '
        'alone, and visual_tokens, answers and diagnostics report that. Colour images wait this '
        'long for depth, 300 at most.',
        unit='s',
    ),
    RECTIFIED,
    IMAGE_TRANSPORT,
    _MAX_RATE,
)

QA_NODE = (
    _AUTOSTART,
    MODEL,
    DEVICE,
    DTYPE,
    QUANTIZE,
    ATTENTION,
    REVISION,
    DEVICE_MAP,
    FRAMES,
    Setting(
        'frame_interval_s',
        1.0,
        Number(0, 3600),
        'Time between the remembered frames; the newest is always one of them.',
        unit='s',
    ),
    Setting(
        'max_age_s',
        10.0,
        Number(0, 86400),
        'A question is refused if the newest frame is older than this; 0 allows any age.',
        unit='s',
    ),
    Setting(
        'wait_s',
        5.0,
        Number(0, 3600),
        'How long a question waits for a frame that is new enough.',
        unit='s',
    ),
    Setting(
        'max_questions',
        8,
        Number(1, 1000, whole=True),
        'Largest number of waiting questions; more are refused.',
    ),
    MAX_NEW_TOKENS,
    *DRAWING,
    SYSTEM,
    TRAINED_FRAMES,
    Setting(
        'evidence_tokens',
        32,
        Number(1, 65535, whole=True),
        'Largest number of tokens in answer/evidence.',
    ),
    MAP_FRAME,
    Setting(
        'transform_tolerance_s',
        0.1,
        Number(0, 10),
        'How much older than a frame the newest transform may be for its pose to be known.',
        unit='s',
        read_only=True,
    ),
)

NODES: dict[str, tuple[Setting, ...]] = {
    'depth_node': DEPTH_NODE,
    'vision_node': VISION_NODE,
    'qa_node': QA_NODE,
}


def node_settings(node: str) -> tuple[Setting, ...]:
    """All settings of a node, with those that other packages bring for their merging methods."""
    if node != 'vision_node':
        return NODES[node]
    known = {row.name for row in NODES[node]}
    others = (row for name, row in SETTINGS.loaded().items() if name not in known)
    return (*NODES[node], *others)


def chosen_weights(values: Mapping[str, Any]) -> dict[str, Any]:
    """How weights are held, by settings' values: keyword arguments of what loads a model.

    What is left out or has its default is not one.
    """
    rows = {
        'quantize': QUANTIZE,
        'attn_implementation': ATTENTION,
        'revision': REVISION,
        'device_map': DEVICE_MAP,
    }
    given = {name: values.get(row.name) for name, row in rows.items()}
    return {n: v for n, v in given.items() if v not in (None, rows[n].default)}
