"""Every parameter of the three nodes, in one table each: type, default, range, meaning.

The tables are what the nodes declare; `reference` writes docs/ros.md and config/vqa.yaml of
them. Declaring needs rclpy, reading the tables does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tosa_ros.errors import RosError

_TYPE_NAMES = {bool: 'bool', int: 'int', float: 'double', str: 'string', tuple: 'double[]'}


@dataclass(frozen=True)
class Parameter:
    """One parameter; its type is that of its default.

    low, high: the closed range of a number.
    choices: the strings it may be, where not any.
    read_only: is set when the node starts and cannot be changed later.
    """

    name: str
    default: bool | int | float | str | tuple[float, ...]
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    read_only: bool = False

    @property
    def type_name(self) -> str:
        return _TYPE_NAMES[type(self.default)]

    @property
    def allowed(self) -> str:
        """The range or the choices, in words; empty where anything of its type goes."""
        if self.choices:
            return ', '.join(repr(choice) for choice in self.choices)
        if self.low is not None:
            return f'{self.low} to {self.high}'
        return f'{len(self.default)} numbers' if isinstance(self.default, tuple) else ''

    def checked(self, value: Any) -> Any:
        """The value in this parameter's type: a whole number is taken for a double.

        Raises:
            RosError: the value is of another type, out of range or not among the choices.
        """
        try:
            if isinstance(self.default, float) and type(value) is int:
                value = float(value)
            elif isinstance(self.default, tuple) and not isinstance(value, str | bytes):
                value = [float(number) for number in value]
        except (TypeError, ValueError):
            pass
        if isinstance(self.default, tuple):
            good = isinstance(value, list) and len(value) == len(self.default)
            good = good and all(type(number) is float for number in value)
        else:
            good = type(value) is type(self.default)
        if good and self.low is not None:
            good = self.low <= value <= self.high
        if good and self.choices:
            good = value in self.choices
        if not good:
            wanted = f'{self.type_name} {self.allowed}'.rstrip()
            raise RosError(f'parameter {self.name}: {repr(value)[:80]}; wanted {wanted}')
        return value


_AUTOSTART = Parameter(
    'autostart',
    True,
    'Configure and activate the node by itself. Off, a lifecycle manager does it.',
    read_only=True,
)
_DEVICE = Parameter(
    'device', 'cpu', 'Where the model runs, as torch names it: cpu, cuda, cuda:1.', read_only=True
)
_DTYPE = Parameter(
    'dtype',
    'auto',
    "The weights' precision; auto is the checkpoint's own (bfloat16 for float16 on a CPU).",
    choices=('auto', 'float32', 'bfloat16', 'float16'),
    read_only=True,
)
_MODEL = Parameter(
    'model',
    '',
    'A checkpoint folder or a Hugging Face name. Empty is the embedded model. vision_node and '
    'qa_node must be given the same one.',
    read_only=True,
)
_IMAGE_TRANSPORT = Parameter(
    'image_transport',
    'raw',
    'How colour comes: raw is sensor_msgs/Image on image; compressed is CompressedImage on '
    'image/compressed.',
    choices=('raw', 'compressed'),
    read_only=True,
)
_MAX_RATE = Parameter(
    'max_rate',
    10.0,
    'Frames a second to work on at most; 0 is as many as there is time for. Older frames that '
    'wait are dropped, never queued.',
    low=0.0,
    high=1000.0,
)

DEPTH_PARAMETERS = (
    _AUTOSTART,
    Parameter(
        'source',
        'sensor',
        'sensor: a depth camera on sensor_depth. monocular: an estimate of image by depth_model.',
        choices=('sensor', 'monocular'),
        read_only=True,
    ),
    Parameter(
        'depth_transport',
        'raw',
        'How sensor depth comes: raw is sensor_msgs/Image on sensor_depth; compressedDepth is '
        'CompressedImage on sensor_depth/compressedDepth.',
        choices=('raw', 'compressedDepth'),
        read_only=True,
    ),
    Parameter(
        'depth_scale',
        1000.0,
        'Units per metre of a 16UC1 depth image: 1000 (millimetres) by REP 118. 32FC1 is in '
        'metres, whatever this says.',
        low=1.0,
        high=1e6,
    ),
    Parameter('min_depth_m', 0.1, 'Sensor depth nearer than this is invalid.', 0.0, 1000.0),
    Parameter('max_depth_m', 20.0, 'Sensor depth farther than this is invalid.', 0.0, 1000.0),
    Parameter(
        'register',
        False,
        "Move sensor depth into the colour camera's pixels, by depth_camera_info, camera_info and "
        'extrinsic. Leave it off where the driver aligns depth to colour.',
        read_only=True,
    ),
    Parameter(
        'extrinsic',
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
        "The depth camera's pose in the colour camera's optical frame, for register: x, y, z in "
        'metres and a quaternion x, y, z, w (`ros2 run tf2_ros tf2_echo COLOUR DEPTH`).',
        read_only=True,
    ),
    Parameter(
        'rectified',
        False,
        'The colour image is rectified, so that register takes P of camera_info, not K: the same '
        "value as vision_node's.",
        read_only=True,
    ),
    Parameter(
        'depth_model',
        '',
        'The monocular estimator: a checkpoint folder or a Hugging Face name, such as '
        'depth-anything/Depth-Anything-V2-Small-hf. Empty is the embedded one.',
        read_only=True,
    ),
    _IMAGE_TRANSPORT,
    _DEVICE,
    _MAX_RATE,
)

VISION_PARAMETERS = (
    _AUTOSTART,
    _MODEL,
    _DEVICE,
    _DTYPE,
    Parameter(
        'method',
        'tosa',
        'How image tokens are merged.',
        choices=('tosa', 'tome', 'tofu', 'pitome', 'none'),
    ),
    Parameter('keep', 0.25, 'Fraction of the image tokens left after merging.', 0.01, 1.0),
    Parameter(
        'alpha',
        'increase',
        "ToSA's weight of appearance against space by layer: increase starts from space.",
        choices=('increase', 'uniform', 'decrease', 'spatial'),
    ),
    Parameter(
        'merge_at',
        'few',
        'Layers that merge: few, more tokens at a time, which is faster; or every one.',
        choices=('few', 'every'),
    ),
    Parameter(
        'use_depth',
        True,
        'Merge by depth too. Off, depth is not subscribed to and tokens merge by appearance.',
        read_only=True,
    ),
    Parameter(
        'sync_slop_s',
        0.02,
        'How far apart the stamps of colour and depth may be and still be one frame, seconds.',
        low=0.0,
        high=1.0,
    ),
    Parameter(
        'depth_timeout_s',
        1.0,
        'With no depth for this long, seconds, frames go on without it: tokens merge by '
        'appearance alone, which visual_tokens, answers and diagnostics then say. Colour images '
        'of this long are kept, 300 at most.',
        low=0.05,
        high=3600.0,
    ),
    Parameter(
        'rectified',
        False,
        'The image is rectified, so that P of camera_info holds, not K.',
        read_only=True,
    ),
    _IMAGE_TRANSPORT,
    _MAX_RATE,
)

QA_PARAMETERS = (
    _AUTOSTART,
    _MODEL,
    _DEVICE,
    _DTYPE,
    Parameter('frames', 1, 'How many frames a question is asked about.', 1, 64),
    Parameter(
        'frame_interval_s',
        1.0,
        'Seconds between the frames that are remembered; the newest always counts.',
        low=0.0,
        high=3600.0,
    ),
    Parameter(
        'max_age_s',
        10.0,
        'With no newer frame than this, seconds, a question is refused rather than answered '
        'about the past; 0 is any age.',
        low=0.0,
        high=86400.0,
    ),
    Parameter(
        'wait_s',
        5.0,
        'Seconds that a question waits for a frame if there is none, or none new enough.',
        low=0.0,
        high=3600.0,
    ),
    Parameter('max_questions', 8, 'Questions that may wait; more are refused.', 1, 1000),
    Parameter('max_new_tokens', 64, 'Tokens of the longest answer.', 1, 4096),
)

PARAMETERS = {
    'depth_node': DEPTH_PARAMETERS,
    'vision_node': VISION_PARAMETERS,
    'qa_node': QA_PARAMETERS,
}


def declare(node: Any, parameters: Sequence[Parameter]) -> None:
    """Declares the parameters on a node, with descriptors, and keeps what is set within them.

    Raises:
        RosError: a value from the command line or a file that a parameter does not take.
    """
    from rcl_interfaces.msg import SetParametersResult
    from rclpy.parameter import Parameter as RosParameter

    known = {parameter.name: parameter for parameter in parameters}

    def coerce(given: list[Any]) -> list[Any]:
        """Lets `ros2 param set NODE keep 1` through, which rclpy would refuse as no double."""
        return [
            RosParameter(item.name, value=float(item.value))
            if item.name in known
            and isinstance(known[item.name].default, float)
            and type(item.value) is int
            else item
            for item in given
        ]

    def check(given: list[Any]) -> Any:
        try:
            for item in given:
                if item.name in known:
                    known[item.name].checked(item.value)
        except RosError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    overrides = node._parameter_overrides
    for parameter in parameters:
        value = overrides[parameter.name].value if parameter.name in overrides else None
        default = (
            list(parameter.default) if type(parameter.default) is tuple else parameter.default
        )
        node.declare_parameter(
            parameter.name,
            default if value is None else parameter.checked(value),
            _descriptor(parameter),
            ignore_override=True,
        )
    node.add_pre_set_parameters_callback(coerce)
    node.add_on_set_parameters_callback(check)


def undeclared(node: Any) -> list[str]:
    """Names that a parameter file or the command line gives this node, but it does not have."""
    return sorted(
        name
        for name in node._parameter_overrides
        if not node.has_parameter(name) and not name.startswith('qos_overrides.')
    )


def _descriptor(parameter: Parameter) -> Any:
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    descriptor = ParameterDescriptor(
        name=parameter.name,
        description=parameter.description,
        read_only=parameter.read_only,
        additional_constraints=f'one of {parameter.allowed}' if parameter.choices else '',
    )
    if isinstance(parameter.default, float) and parameter.low is not None:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(parameter.low), to_value=float(parameter.high))
        ]
    elif parameter.low is not None:
        descriptor.integer_range = [
            IntegerRange(from_value=int(parameter.low), to_value=int(parameter.high))
        ]
    return descriptor
