"""Which topics of a bag are colour, depth, camera info and poses: found by type, or named."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tosa_ros.errors import DataError, printable
from tosa_ros.messages.frame_builder import names_a_frame
from tosa_ros.messages.topic_names import (
    camera_infos_beside,
    says_depth,
    says_other_than_depth,
)
from tosa_ros.messages.transports import (
    IMAGE_TYPES,
    image_topic,
    is_depth,
    preference,
    stated,
    stated_encoding,
)
from tosa_ros.sources.bags.definitions import modern
from tosa_ros.sources.bags.opening import damage_errors

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


class Found(NamedTuple):
    """The topics in use, their first messages, and why depth is the one that it is."""

    topics: BagTopics
    colour: Any | None
    depth: Any | None
    why: str


def find_topics(bag: Any, wanted: BagTopics, notes: dict[str, int]) -> Found:
    """Fills in the topics that are not named; 'none' where there is no such topic.

    An image is depth by its encoding, but never if its name says something else: thermal
    pictures and labels have the same encodings. Names that say depth go before others.

    Raises:
        DataError: a topic that is not there, no colour, or several candidates (all named).
    """
    types = {c.topic: modern(c.msgtype) for c in bag.connections if c.msgcount}
    for name in vars(wanted).values():
        if name not in (None, NONE) and name not in types:
            raise DataError(f'topic {name}: not in the bag; it has {_listed(sorted(types))}')
    images = _Images(bag, types)
    image, depth, why = wanted.image, wanted.depth, 'as it was named'
    if image is None or depth is None:
        colours, depths = images.colours_and_depths()
        if image is None:
            image = _only(colours, 'colour image', '--image-topic', required=True)
            if _is_grey(images.first(image)):
                encoding = encoding_of(images.first(image))
                notes[f'the image is {image} ({encoding}), as there is none in colour'] = 1
        if depth is None:
            depth, why = _depth(images, [topic for topic in depths if topic != image], notes)
    infos = _Calibrations(images, image, depth)
    camera_info = wanted.camera_info or infos.of_colour()
    found = BagTopics(
        image=image,
        depth=depth,
        camera_info=camera_info,
        depth_camera_info=wanted.depth_camera_info or infos.of_depth(camera_info),
        pose=wanted.pose or _pose(types, notes),
    )
    if found.camera_info == NONE:
        notes['no camera_info: there are no metric points'] = 1
    if found.depth == NONE:
        notes['no depth: image tokens merge by appearance alone'] = 1
    return Found(found, infos.colour, infos.depth, why)


class _Images:
    """The first messages of a bag's topics, and by them what an image topic holds."""

    def __init__(self, bag: Any, types: Mapping[str, str]) -> None:
        self._bag, self.types = bag, types
        self._first: dict[str, Any] = {}

    def first(self, topic: str) -> Any | None:
        """The first message of a topic; None where there is none."""
        if topic not in self._first:
            self._first[topic] = first_message(self._bag, topic)
        return self._first[topic]

    def colours_and_depths(self) -> tuple[list[str], list[str]]:
        """Colour and depth topics; of an image's transports, only the best one counts."""
        best: dict[tuple[str, bool], str] = {}
        for topic, kind in self.types.items():
            raw = image_topic(topic)
            if kind not in IMAGE_TYPES or (raw != topic and raw in self.types):
                continue
            message = self.first(topic)
            if message is None:
                continue
            place = raw, is_depth(message)
            rival = best.get(place)
            if rival is None or preference(message) < preference(self.first(rival)):
                best[place] = topic
        depths = [topic for (_, deep), topic in best.items() if deep]
        others = [topic for (_, deep), topic in best.items() if not deep]
        colours = [topic for topic in others if not _is_grey(self.first(topic))]
        return colours or others, depths

    def sample(self, topic: str) -> Any | None:
        """As `first`; None too where that message is damaged, which its frame will say."""
        with contextlib.suppress(*damage_errors()):
            return self.first(topic)
        return None


def _is_grey(message: Any) -> bool:
    return stated_encoding(message) in _GREY


def encoding_of(message: Any) -> str:
    """What an image message says of its pixels."""
    return printable(stated(message), 40)


def _depth(images: _Images, topics: Sequence[str], notes: dict[str, int]) -> tuple[str, str]:
    """Which of these topics is depth, and why it is that one."""
    words = {topic: says_other_than_depth(topic) for topic in topics}
    for topic, word in words.items():
        if word:
            encoding = encoding_of(images.first(topic))
            notes[
                f'{topic} ({encoding}) is not taken as depth, because its name says {word}; '
                f'if it is depth, name it: --depth-topic {topic} of tosa replay and tosa bag'
            ] = 1
    candidates = [topic for topic, word in words.items() if not word]
    saying = [topic for topic in candidates if says_depth(topic)]
    depth = _only(saying or candidates, 'depth image', '--depth-topic')
    if not saying:
        return depth, 'by its encoding alone'
    others = [topic for topic in candidates if topic != depth]
    unlike = f', unlike {_listed(others)}' if others else ''
    return depth, f'as its name and encoding say{unlike}'


def first_message(bag: Any, topic: str) -> Any | None:
    """The first message of a topic; None where there is none."""
    connections = [c for c in bag.connections if c.topic == topic]
    if not connections:
        return None  # rosbags would take that for all of them.
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


class _Calibrations:
    """Which camera_info belongs to colour and which to depth: by name, else by their frames.

    colour, depth: the first messages of the two images.
    """

    def __init__(self, images: _Images, image: str, depth: str) -> None:
        self._images, self._image, self._depth = images, image, depth
        self._infos = [topic for topic, kind in images.types.items() if kind == INFO_TYPE]
        self.colour, self.depth = images.sample(image), images.sample(depth)

    def of_colour(self) -> str:
        """The one beside the image, by image_transport's convention, or the only one."""
        beside = self._beside(self._image)
        if beside:
            return beside
        colour, depth = _frame_of(self.colour), _frame_of(self.depth)
        others = [info for info in self._infos if info != self._beside(self._depth)]
        if depth != colour:
            others = [info for info in others if not depth or self._frame(info) != depth]
        if len(others) > 1 and colour:
            others = [info for info in others if self._frame(info) == colour] or others
        return _only(others, 'camera_info', '--camera-info-topic')

    def of_depth(self, camera_info: str) -> str:
        """The one beside depth, or another than colour's that is of its frame."""
        beside, frame = self._beside(self._depth), _frame_of(self.depth)
        if beside or not frame:
            return beside or NONE
        own = [info for info in self._infos if info != camera_info and self._frame(info) == frame]
        return own[0] if len(own) == 1 else NONE

    def _beside(self, topic: str) -> str | None:
        if topic == NONE:
            return None
        return next((name for name in camera_infos_beside(topic) if name in self._infos), None)

    def _frame(self, info: str) -> str:
        return _frame_of(self._images.sample(info))


def _frame_of(message: Any) -> str:
    """The camera frame of a message; empty where its name is none."""
    frame = getattr(getattr(message, 'header', None), 'frame_id', '').lstrip('/')
    return frame if names_a_frame(frame) else ''


def _pose(types: dict[str, str], notes: dict[str, int]) -> str:
    """The only pose topic; with several, none: answers do not need it."""
    candidates = [topic for topic, kind in types.items() if kind in POSE_TYPES]
    if len(candidates) > 1:
        notes[f'several pose topics: {_listed(candidates)}; name one: --pose-topic'] = 1
    return candidates[0] if len(candidates) == 1 else NONE


def _listed(topics: Sequence[str]) -> str:
    return ', '.join(topics) or 'no topic with messages'
