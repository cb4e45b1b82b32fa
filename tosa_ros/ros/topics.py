"""Every topic and service of the three nodes, in one table each, and the QoS they have.

The nodes create what is listed here and nothing else; `reference` prints it in docs/ros.md.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from tosa_ros.messages.transports import RAW, TRANSPORTS, transport

# name: (reliable, depth, in words).
QOS = {
    # A few, so that colour and depth of one instant are both there when many wait to be read.
    'sensor': (False, 5, 'best effort, or reliable if all publishers are; depth 5'),
    # A lost packet costs all images up to the next key frame.
    'video': (False, 100, 'best effort, or reliable if all publishers are; depth 100'),
    'viewer': (True, 1, 'reliable, depth 1'),
    # A thousand questions at once are all refused or answered, not lost on the way.
    'text': (True, 1000, 'reliable, depth 1000'),
    'fact': (True, 1, 'reliable, transient local, depth 1'),
    'moving': (True, 100, 'reliable, depth 100'),
    'kept': (True, 100, 'reliable, transient local, depth 100'),
}


POLICIES = ('history', 'depth', 'reliability', 'durability')


@dataclass(frozen=True)
class Topic:
    """A topic by its relative name; `out` is published, else it is subscribed to."""

    name: str
    type: str
    qos: str
    description: str
    out: bool = False


@dataclass(frozen=True)
class Service:
    """A service by its relative name."""

    name: str
    type: str
    description: str


def image_topic(name: str, transport_name: str) -> str:
    """The topic on which an input image comes, by a transport of the table in `messages`."""
    return transport(transport_name).topic(name)


def image_topics(name: str) -> tuple[str, ...]:
    """The topics on which an input image may come, by all transports."""
    return tuple(one.topic(name) for one in TRANSPORTS)


def _images(name: str, holds: str, parameter: str, description: str) -> tuple[Topic, ...]:
    """An input image, by each transport that carries what it holds ('colour' or 'depth')."""
    carriers = [one for one in TRANSPORTS if one.carries(holds)]
    return tuple(
        Topic(
            one.topic(name),
            one.type,
            'sensor' if one.decoder is None else 'video',
            description if one.name == RAW else f'The same with {parameter}: {one.name}.',
        )
        for one in carriers
    )


_CAMERA_INFO = Topic(
    'camera_info', 'sensor_msgs/msg/CameraInfo', 'sensor', "The colour camera's calibration."
)
TF, TF_STATIC = '/tf', '/tf_static'
TF_TYPE = 'tf2_msgs/msg/TFMessage'
_DEPTH = ('depth', 'sensor_msgs/msg/Image', 'viewer')
_RELATIVE = ('relative_depth', 'sensor_msgs/msg/Image', 'viewer')
_DOUBTS = ('depth/doubts', 'std_msgs/msg/UInt8', 'fact')

DEPTH_TOPICS = (
    *_images(
        'sensor_depth',
        'depth',
        'depth_transport',
        'Depth as the camera gives it, 16UC1 or 32FC1 (source: sensor).',
    ),
    Topic(
        'depth_camera_info',
        'sensor_msgs/msg/CameraInfo',
        'sensor',
        "The depth camera's calibration, to register depth or to see whether it should be.",
    ),
    Topic(
        'camera_info',
        'sensor_msgs/msg/CameraInfo',
        'sensor',
        "The colour camera's calibration, for the same.",
    ),
    Topic(
        TF_STATIC,
        TF_TYPE,
        'kept',
        'Where the depth camera is (register: true, without extrinsic).',
    ),
    *_images('image', 'colour', 'image_transport', 'Colour (source: monocular).'),
    Topic(*_DEPTH, "32FC1, metres along the optical axis in the image's pixels, NaN: none.", True),
    Topic(*_RELATIVE, '32FC1, 0 to 1, 1 nearest, where an estimator has no scale.', True),
    Topic(
        *_DOUBTS,
        'What is not known for sure of depth, a sum: 1 its camera is not the colour camera but it '
        'is not registered, 4 it is estimated.',
        True,
    ),
)

VISION_TOPICS = (
    *_images('image', 'colour', 'image_transport', 'Colour.'),
    _CAMERA_INFO,
    Topic('depth', 'sensor_msgs/msg/Image', 'sensor', 'Metric depth from depth_node.'),
    Topic('relative_depth', 'sensor_msgs/msg/Image', 'sensor', 'Unscaled depth from depth_node.'),
    Topic(*_DOUBTS, 'What depth_node does not know for sure of depth.'),
    Topic(
        'visual_tokens',
        'sensor_msgs/msg/PointCloud2',
        'viewer',
        "The merged tokens, one point each, with the image's stamp and frame.",
        True,
    ),
    Topic(
        'merge_image',
        'sensor_msgs/msg/Image',
        'viewer',
        'rgb8: the image with each token in one colour, outlined.',
        True,
    ),
)

QA_TOPICS = (
    Topic('visual_tokens', 'sensor_msgs/msg/PointCloud2', 'sensor', 'From vision_node.'),
    Topic(
        'question',
        'std_msgs/msg/String',
        'text',
        'Plain text, or JSON {"id": ..., "text": ...}.',
    ),
    Topic(TF, TF_TYPE, 'moving', "Where the camera is, for the answers' poses."),
    Topic(TF_STATIC, TF_TYPE, 'kept', 'The same, of what does not move.'),
    Topic(
        'answer',
        'std_msgs/msg/String',
        'text',
        'JSON, one message for each question, refused ones too.',
        True,
    ),
    Topic(
        'answer/partial',
        'std_msgs/msg/String',
        'text',
        'JSON, the answer so far, as it grows.',
        True,
    ),
    Topic(
        'answer/evidence',
        'sensor_msgs/msg/PointCloud2',
        'fact',
        'The tokens that the answer looked at most, found only while someone subscribes.',
        True,
    ),
)
QA_SERVICES = (
    Service(
        'cancel',
        'std_srvs/srv/Trigger',
        'Stops the current answer and refuses waiting questions.',
    ),
    Service(
        'enable',
        'std_srvs/srv/SetBool',
        'false: refuse questions and let vision_node idle; true: accept them again.',
    ),
)
DIAGNOSTICS = Topic(
    '/diagnostics', 'diagnostic_msgs/msg/DiagnosticArray', 'text', 'Health, once a second.', True
)

TOPICS = {'depth_node': DEPTH_TOPICS, 'vision_node': VISION_TOPICS, 'qa_node': QA_TOPICS}
SERVICES = {'depth_node': (), 'vision_node': (), 'qa_node': QA_SERVICES}


def ros_type(name: str) -> Any:
    """The class of 'sensor_msgs/msg/Image' and the like."""
    package, kind, type_name = name.split('/')
    return getattr(importlib.import_module(f'{package}.{kind}'), type_name)


def qos_profile(name: str) -> Any:
    """A new rclpy QoSProfile of the name in QOS (overrides change it in place)."""
    from rclpy.qos import QoSDurabilityPolicy, QoSProfile

    reliable, depth, words = QOS[name]
    profile = QoSProfile(depth=depth, reliability=reliability(reliable))
    if 'transient local' in words:
        profile.durability = QoSDurabilityPolicy.TRANSIENT_LOCAL
    return profile


def overridable() -> list[Any]:
    """The rclpy policies of any topic that parameters override."""
    from rclpy.qos import QoSPolicyKind

    return [getattr(QoSPolicyKind, policy.upper()) for policy in POLICIES]


def reliability(reliable: bool) -> Any:
    """rclpy's reliability policy."""
    from rclpy.qos import QoSReliabilityPolicy

    return QoSReliabilityPolicy.RELIABLE if reliable else QoSReliabilityPolicy.BEST_EFFORT
