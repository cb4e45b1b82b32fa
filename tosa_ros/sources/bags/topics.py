"""Which topics of a bag are colour, depth, camera info and poses: found by type, or named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tosa_ros.errors import DataError
from tosa_ros.messages.transports import IMAGE_TYPES, image_topic, is_depth

NONE = 'none'
INFO_TYPE = 'sensor_msgs/msg/CameraInfo'
TF_TYPE = 'tf2_msgs/msg/TFMessage'
POSE_TYPES = (
    'geometry_msgs/msg/PoseStamped',
    'geometry_msgs/msg/PoseWithCovarianceStamped',
    'geometry_msgs/msg/TransformStamped',
    'nav_msgs/msg/Odometry',
)
_GREY = ('mono8', '8UC1')


@dataclass(frozen=True)
class BagTopics:
    """Topic names. None: found by type, if there is one candidate; 'none': not used."""

    image: str | None = None
    depth: str | None = None
    camera_info: str | None = None
    depth_camera_info: str | None = None
    pose: str | None = None


def find_topics(bag: Any, wanted: BagTopics, notes: dict[str, int]) -> BagTopics:
    """Fills in the topics that are not named; 'none' where there is no such topic.

    Raises:
        DataError: a topic that is not there, no colour, or several candidates (all named).
    """
    types = {c.topic: _modern(c.msgtype) for c in bag.connections if c.msgcount}
    for name in vars(wanted).values():
        if name not in (None, NONE) and name not in types:
            raise DataError(f'topic {name}: not in the bag; it has {_listed(sorted(types))}')
    image, depth = wanted.image, wanted.depth
    if image is None or depth is None:
        colours, depths = _images(bag, types)
        image = image or _only(colours, 'colour image', '--image-topic', required=True)
        depth = depth or _only([d for d in depths if d != image], 'depth image', '--depth-topic')
    infos = [topic for topic, kind in types.items() if kind == INFO_TYPE]
    found = BagTopics(
        image=image,
        depth=depth,
        camera_info=wanted.camera_info or _info_of(image, infos, depth),
        depth_camera_info=wanted.depth_camera_info or _sibling(depth, infos) or NONE,
        pose=wanted.pose or _pose(types, notes),
    )
    if found.camera_info == NONE:
        notes['no camera_info: there are no metric points'] = 1
    if found.depth == NONE:
        notes['no depth: image tokens merge by appearance alone'] = 1
    return replace(found)


def _modern(kind: str) -> str:
    """ROS 1 type names as rosbags has them already carry /msg/; others get it."""
    package, _, rest = kind.partition('/')
    return kind if rest.startswith('msg/') else f'{package}/msg/{rest}'


def _images(bag: Any, types: dict[str, str]) -> tuple[list[str], list[str]]:
    """Colour and depth topics; a compressed copy of a raw topic does not count."""
    colours, greys, depths = [], [], []
    for topic, kind in types.items():
        copy = image_topic(topic) != topic and image_topic(topic) in types
        if kind not in IMAGE_TYPES or copy:
            continue
        message = _first(bag, topic)
        if message is None:
            continue
        if is_depth(message):
            depths.append(topic)
        else:
            grey = getattr(message, 'encoding', '') in _GREY
            (greys if grey else colours).append(topic)
    return colours or greys, depths


def _first(bag: Any, topic: str) -> Any:
    connections = [c for c in bag.connections if c.topic == topic]
    for connection, _, data in bag.messages(connections):
        return bag.deserialize(data, connection.msgtype)
    return None


def _only(candidates: Sequence[str], what: str, option: str, required: bool = False) -> str:
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise DataError(
            f'{len(candidates)} {what} topics: {_listed(candidates)}; name one: {option}'
        )
    if required:
        raise DataError(
            f'no {what} topic is in the bag; name one that is not found by type: {option}'
        )
    return NONE


def _info_of(image: str, infos: Sequence[str], depth: str) -> str:
    """The camera_info beside the image, by image_transport's convention, or the only one."""
    beside = _sibling(image, infos)
    if beside:
        return beside
    others = [info for info in infos if info != _sibling(depth, infos)]
    return _only(others, 'camera_info', '--camera-info-topic')


def _sibling(topic: str | None, infos: Sequence[str]) -> str | None:
    if topic in (None, NONE):
        return None
    name = f'{image_topic(topic).rpartition("/")[0]}/camera_info'
    return name if name in infos else None


def _pose(types: dict[str, str], notes: dict[str, int]) -> str:
    """The only pose topic; with several, none: answers do not need it."""
    candidates = [topic for topic, kind in types.items() if kind in POSE_TYPES]
    if len(candidates) > 1:
        notes[f'several pose topics: {_listed(candidates)}; name one: --pose-topic'] = 1
    return candidates[0] if len(candidates) == 1 else NONE


def _listed(topics: Sequence[str]) -> str:
    return ', '.join(topics) or 'no topic with messages'
