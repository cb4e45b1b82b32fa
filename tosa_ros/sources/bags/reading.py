"""BagFrames: the frames of a bag, found in one pass that keeps stamps, decoded when asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tosa_ros.errors import DataError, DepthError, RosError, TosaError
from tosa_ros.frames import Frame, Intrinsics
from tosa_ros.messages import FrameBuilder, header_stamp_ns
from tosa_ros.settings import SYNC_SLOP
from tosa_ros.sources.bags.depth import BagDepth, is_metric
from tosa_ros.sources.bags.opening import Bag, damage_errors, in_words
from tosa_ros.sources.bags.poses import CameraPoses
from tosa_ros.sources.bags.topics import (
    NONE,
    TF_TYPE,
    BagTopics,
    Found,
    encoding_of,
    find_topics,
)
from tosa_ros.sources.bags.video_track import VideoTracks
from tosa_ros.sources.bags.viewer import ViewerSays, viewer_says
from tosa_ros.sources.folder import MILLIMETRES
from tosa_ros.sources.source import FrameSource

RELATIVE_BEFORE_S = 1e8  # stamps before 1973 count from a start, not from the epoch


class _Place(NamedTuple):
    """Where a message is: its header's stamp, and when the bag got it (both ns)."""

    stamp: int
    received: int


@dataclass(frozen=True)
class _Shot:
    """A colour message and the depth message that belongs to it."""

    colour: _Place
    depth: _Place | None


class BagFrames(FrameSource):
    """A bag's frames, in the order of their stamps.

    Colour is paired with the depth nearest in stamp, at most `slop_s` away. Depth of another
    camera is registered to colour by both calibrations and tf; `notes` say which topic depth is,
    why, and whether it is registered.

    topics: the names in use. depth_scale: units of 16-bit depth per metre; by default what
    RealSense Viewer recorded, else 1000.
    """

    def __init__(
        self,
        path: str | Path,
        topics: BagTopics | None = None,
        slop_s: float = SYNC_SLOP.default,
        depth_scale: float | None = None,
    ) -> None:
        self.path = Path(path)
        self._bag = Bag(self.path)
        self.notes = self._bag.notes
        self._poses = CameraPoses()
        self._videos = VideoTracks(self.notes)
        self._infos: dict[str, Any] = {}
        with self._bag.opened() as bag:
            try:
                found = find_topics(bag, topics or BagTopics(), self.notes)
                self.topics = found.topics
                viewer = viewer_says(bag, self.topics)
                colours, depths = self._scan(bag)
            except DataError as error:
                raise DataError(self._with_notes(f'{self.path}: {error}')) from error
            except damage_errors() as error:
                fault = f'{self.path}: is damaged: {in_words(error)}'
                raise DataError(self._with_notes(fault)) from error
        if not colours:
            fault = f'{self.path}: no image on {self.topics.image} can be read'
            raise DataError(self._with_notes(fault))
        colours, depths = self._with_sound_stamps(colours, depths)
        self._shots = _paired(colours, depths, round(slop_s * 1e9))
        alone = self.missing_depth
        if alone and self.topics.depth != NONE:
            self.notes[f'{alone} of {len(self)} images have no depth within {slop_s:g} s'] = 1
        self.depth_scale = self._scale(depth_scale, viewer)
        self._depth = BagDepth(
            self.topics,
            self._infos,
            self._poses.transforms,
            self.depth_scale,
            viewer.moved,
        )
        self.depth_is_metric = False  # as far as its first message shows
        self._tell_depth(found)

    @property
    def missing_depth(self) -> int:
        """How many frames have no depth."""
        return sum(shot.depth is None for shot in self._shots)

    @property
    def stamps_s(self) -> np.ndarray:
        """Stamps of the frames, seconds."""
        return np.array(self.stamps_ns) * 1e-9

    @property
    def stamps_ns(self) -> list[int]:
        """The same, in whole nanoseconds."""
        return [shot.colour.stamp for shot in self._shots]

    @property
    def received_s(self) -> np.ndarray:
        """When the bag got the images, seconds; headers may count from somewhere else."""
        return np.array([shot.colour.received for shot in self._shots]) * 1e-9

    @property
    def has_relative_stamps(self) -> bool:
        """Whether stamps count from some start rather than from the epoch."""
        return self._shots[0].colour.stamp * 1e-9 < RELATIVE_BEFORE_S

    def __len__(self) -> int:
        return len(self._shots)

    def __getitem__(self, index: int) -> Frame:
        with self._bag.opened() as bag:
            return self._frame(bag, self._shots[index])

    def __iter__(self) -> Iterator[Frame]:
        with self._bag.opened() as bag:
            for shot in self._shots:
                yield self._frame(bag, shot)

    def pick(self, indices: Sequence[int]) -> list[Frame]:
        """The frames of these indices; frames that cannot be decoded are left out and noted.

        Raises:
            DataError: not one of them can be decoded.
        """
        made: dict[int, Frame | None] = {}
        with self._bag.opened() as bag:
            for index in dict.fromkeys(indices):
                try:
                    made[index] = self._frame(bag, self._shots[index])
                except (RosError, DataError) as error:
                    self.notes[f'an image cannot be read and is left out: {error}'] += 1
                    made[index] = None
        frames = [made[index] for index in indices]
        if not any(frame is not None for frame in frames):
            raise DataError(f'{self.path}: none of the {len(frames)} images asked for can be read')
        return [frame for frame in frames if frame is not None]

    def opened(self) -> AbstractContextManager[Any]:
        """The bag's reader, open inside a `with`."""
        return self._bag.opened()

    def frame(self, bag: Any, index: int) -> Frame:
        """A frame, from the opened bag."""
        return self._frame(bag, self._shots[index])

    def depth_message(self, bag: Any, index: int) -> Any | None:
        """The depth message of a frame, as the sensor's camera saw it, from the opened bag."""
        place = self._shots[index].depth
        return None if place is None else self._message(bag, self.topics.depth, place)

    @property
    def depth_camera(self) -> Intrinsics | None:
        """The depth camera, where it is not colour's."""
        return self._depth.camera

    def _scan(self, bag: Any) -> tuple[list[_Place], list[_Place]]:
        """One pass over the bag: stamps of the images; calibrations, poses and tf as they are."""
        topics = self.topics
        places: dict[str, list[_Place]] = {topics.image: [], topics.depth: []}
        infos = {topics.camera_info, topics.depth_camera_info} - {NONE}
        wanted = [
            c
            for c in bag.connections
            if c.topic in places
            or c.topic in infos
            or c.topic == topics.pose
            or (c.msgtype == TF_TYPE and c.msgcount)
        ]
        try:
            for connection, received, data in bag.messages(wanted):
                topic = connection.topic
                if topic in places:
                    place = _Place(header_stamp_ns(data, ros1=not bag.is2), received)
                    if self._videos.takes(bag, connection, *place, data):
                        places[topic].append(place)
                elif topic in infos:
                    if topic not in self._infos:
                        self._infos[topic] = bag.deserialize(data, connection.msgtype)
                elif topic == topics.pose:
                    self._poses.add_pose(bag.deserialize(data, connection.msgtype))
                else:
                    message = bag.deserialize(data, connection.msgtype)
                    self._poses.transforms.add(message, topic.endswith('tf_static'))
        except damage_errors() as error:
            self.notes[
                f'the bag is damaged after {len(places[topics.image])} images, which are used: '
                f'{in_words(error)}'
            ] = 1
        self._videos.note_losses()
        return places[topics.image], places.get(topics.depth, [])

    def _with_notes(self, fault: str) -> str:
        """Adds the bag's own faults, which are often the reason."""
        return ' '.join([fault, *(f'({note})' for note in self.notes)])

    def _with_sound_stamps(
        self, colours: list[_Place], depths: list[_Place]
    ) -> tuple[list[_Place], list[_Place]]:
        """Stamps of the headers; if those do not advance, the times of recording."""
        if len(colours) > 1 and len({place.stamp for place in colours}) == 1:
            self.notes[
                f'the headers are all stamped {colours[0].stamp * 1e-9:g}: the times at which the '
                'bag got the messages are used'
            ] = 1
            return tuple(
                [_Place(place.received, place.received) for place in places]
                for places in (colours, depths)
            )
        if len({place.stamp for place in colours}) < len(colours):
            self.notes['several images have the same stamp'] = 1
        return colours, depths

    def _scale(self, told: float | None, viewer: ViewerSays) -> float:
        """Units of 16-bit depth per metre: as told, as recorded, or millimetres."""
        if told is None and viewer.scale not in (None, MILLIMETRES):
            self.notes[f'depth has {viewer.scale:g} units a metre, as its recorder wrote'] = 1
        return next(s for s in (told, viewer.scale, MILLIMETRES) if s is not None)

    def _tell_depth(self, found: Found) -> None:
        """Notes which topic is depth, why, and how it comes onto colour's pixels."""
        if found.colour is None or found.depth is None:
            return
        colour, depth = found.colour, found.depth
        topic, stamp = self.topics.depth, self._shots[0].colour.stamp
        # What cannot be read is noted with its frame, a damaged definition is no message at all.
        with contextlib.suppress(TosaError, AttributeError):
            how = self._depth.fit(colour, depth, stamp).words
            self.notes[f'depth is {topic} ({encoding_of(depth)}), {found.why}; {how}'] = 1
            self.depth_is_metric = is_metric(depth)
            doubt = self._depth.scale_note(depth)
            if doubt:
                self.notes[doubt] = 1

    def _frame(self, bag: Any, shot: _Shot) -> Frame:
        try:
            return self._made(bag, shot)
        except AttributeError as error:  # A definition of its type that was damaged.
            raise DataError(f'{self.path}: no message of its type: {in_words(error)}') from error

    def _made(self, bag: Any, shot: _Shot) -> Frame:
        colour = self._message(bag, self.topics.image, shot.colour)
        depth = None if shot.depth is None else self._message(bag, self.topics.depth, shot.depth)
        builder = FrameBuilder(lambda _, line: self.notes.update([line]))
        if self.topics.camera_info in self._infos:
            builder.camera_info(self._infos[self.topics.camera_info])
        frame, stamp = builder.frame(colour, None), shot.colour.stamp
        pose = self._poses.at(stamp, colour.header.frame_id)
        frame = replace(frame, pose=pose, stamp=stamp * 1e-9)
        if depth is None:
            return frame
        try:
            pixels, doubts = self._depth.pixels(colour, depth, stamp, frame.width, frame.height)
        except (RosError, DepthError) as error:
            self.notes[f'{error}: image tokens merge by appearance alone'] += 1
            return frame
        return replace(frame, depth_m=pixels, doubts=doubts)

    def _message(self, bag: Any, topic: str, place: _Place) -> Any:
        video = self._videos.track(topic)
        if video is not None:
            return video.image(bag, *place)
        connections = [c for c in bag.connections if c.topic == topic]
        start, stop = place.received, place.received + 1
        try:
            for connection, received, data in bag.messages(connections, start, stop):
                if place.stamp in (received, header_stamp_ns(data, ros1=not bag.is2)):
                    return bag.deserialize(data, connection.msgtype)
        except damage_errors() as error:
            raise DataError(f'{self.path}: {topic}: {in_words(error)}') from error
        raise DataError(f'{self.path}: {topic}: the message of {place.stamp * 1e-9:.3f} s is gone')


def _paired(colours: list[_Place], depths: list[_Place], slop_ns: int) -> list[_Shot]:
    colours, depths = sorted(colours), sorted(depths)
    stamps = np.array([place.stamp for place in depths], np.int64)
    shots = []
    for colour in colours:
        after = int(np.searchsorted(stamps, colour.stamp))
        near = [depths[i] for i in (after - 1, after) if 0 <= i < len(depths)]
        best = min(near, key=lambda place: abs(place.stamp - colour.stamp), default=None)
        if best is not None and abs(best.stamp - colour.stamp) > slop_ns:
            best = None
        shots.append(_Shot(colour, best))
    return shots
