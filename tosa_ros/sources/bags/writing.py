"""Writes bags: the topics of a robot's camera, one set of messages for each frame."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tosa_ros.depth import SensorDepth
from tosa_ros.errors import DataError, MissingDependencyError
from tosa_ros.files import new_folder
from tosa_ros.frames import Frame, Intrinsics
from tosa_ros.messages import MessageMaker, pose_from_message
from tosa_ros.messages.transports import transport
from tosa_ros.sources.folder import MILLIMETRES

COLOUR_TOPIC = '/camera/color/image_raw'
DEPTH_TOPIC = '/camera/depth/image_raw'
INFO_TOPIC = '/camera/color/camera_info'
DEPTH_INFO_TOPIC = '/camera/depth/camera_info'
POSE_TOPIC = '/camera/pose'
OPTICAL_FRAME = 'camera_color_optical_frame'
WORLD_FRAME = 'map'
START_S = 1_000_000_000  # a frame's stamp 0 in the bag: ROS reads 0 as no time at all
STORAGES = ('mcap', 'sqlite3')
FORMATS = ('raw', 'png', 'jpeg')
CUSTOM_KEY = 'tosa_ros'
BAG_VERSION = 9
POSE_TOLERANCE = 1e-4  # of a pose's text with six digits, and no more


class Shot(NamedTuple):
    """What is recorded at one instant.

    stamp_ns: nanoseconds. name: of the frame, for errors. raw_depth: (H, W) uint16 in units of
    1 / depth_scale metres, or float metres. depth_camera: where it is not colour's.
    """

    stamp_ns: int
    name: str
    rgb: np.ndarray
    raw_depth: np.ndarray | None = None
    depth_scale: float = MILLIMETRES
    camera: Intrinsics | None = None
    depth_camera: Intrinsics | None = None
    pose: np.ndarray | None = None


def frames_to_bag(path: Path, frames: Iterable[Frame]) -> None:
    """Writes frames as a rosbag2 folder (mcap), depth in millimetres (16UC1, REP-118).

    Raises:
        DataError: the folder already exists or cannot be written.
        MissingDependencyError: rosbags is not installed.
    """
    sensor = SensorDepth(scale=MILLIMETRES)
    shots = (
        Shot(
            START_S * 10**9 + round(frame.stamp * 1e9),
            str(index),
            frame.rgb,
            None if frame.depth_m is None else sensor.to_array(frame.depth_m, drop_far=True),
            camera=frame.intrinsics,
            pose=frame.pose,
        )
        for index, frame in enumerate(frames)
    )
    with bag_writer(path) as write:
        for shot in shots:
            write(shot)


@contextmanager
def bag_writer(
    path: Path,
    *,
    storage: str = 'mcap',
    image_format: str = 'raw',
    custom: Mapping[str, Any] | None = None,
) -> Iterator[Any]:
    """A function that writes a Shot into a new bag, which exists when the block ends.

    custom: kept in the bag's metadata, where other readers do not mind it.

    Raises:
        DataError: `path` already exists, cannot be written, or the storage or format is none.
        MissingDependencyError: rosbags is not installed.
    """
    try:
        from rosbags.rosbag2 import StoragePlugin, Writer
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise MissingDependencyError('rosbags', 'eval', 'writing a bag') from error
    if storage not in STORAGES or image_format not in FORMATS:
        raise DataError(
            f'storage {storage!r}, format {image_format!r}; wanted one of '
            f'{", ".join(STORAGES)}, and one of {", ".join(FORMATS)}'
        )
    store = get_typestore(Stores.ROS2_HUMBLE)  # these messages are the same in all later ones
    maker = MessageMaker(store.types.__getitem__, lambda values: values)
    plugin = StoragePlugin.MCAP if storage == 'mcap' else StoragePlugin.SQLITE3
    connections: dict[str, Any] = {}
    with (
        new_folder(path) as place,
        Writer(place, version=BAG_VERSION, storage_plugin=plugin) as writer,
    ):
        if custom is not None:
            writer.set_custom_data(CUSTOM_KEY, json.dumps(custom))

        def write(shot: Shot) -> None:
            for topic, message in _messages(maker, shot, image_format).items():
                kind = message.__msgtype__
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, kind, typestore=store)
                data = store.serialize_cdr(message, kind)
                writer.write(connections[topic], shot.stamp_ns, data)

        yield write


def _messages(maker: MessageMaker, shot: Shot, image_format: str) -> dict[str, Any]:
    """topic -> message."""
    header = maker.header(shot.stamp_ns, OPTICAL_FRAME)
    raw = image_format == 'raw'
    if raw:
        made = {COLOUR_TOPIC: maker.image(shot.rgb, 'rgb8', header)}
    else:
        topic = transport('compressed').topic(COLOUR_TOPIC)
        made = {topic: maker.compressed(shot.rgb, header, image_format)}
    if shot.raw_depth is not None:
        if shot.raw_depth.dtype != np.uint16:
            made[DEPTH_TOPIC] = maker.image(shot.raw_depth, '32FC1', header)
        elif shot.depth_scale != MILLIMETRES:
            metres = SensorDepth(scale=shot.depth_scale).from_array(shot.raw_depth)
            made[DEPTH_TOPIC] = maker.image(metres, '32FC1', header)
        elif raw:
            made[DEPTH_TOPIC] = maker.image(shot.raw_depth, '16UC1', header)
        else:
            topic = transport('compressedDepth').topic(DEPTH_TOPIC)
            made[topic] = maker.compressed_depth(shot.raw_depth, header)
    if shot.camera is not None:
        made[INFO_TOPIC] = maker.camera_info(shot.camera, header)
    if shot.depth_camera is not None:
        made[DEPTH_INFO_TOPIC] = maker.camera_info(shot.depth_camera, header)
    if shot.pose is not None:
        made[POSE_TOPIC] = _pose(maker, shot)
    return made


def _pose(maker: MessageMaker, shot: Shot) -> Any:
    message = maker.pose(shot.pose, maker.header(shot.stamp_ns, WORLD_FRAME))
    error = np.abs(pose_from_message(message) - shot.pose).max()
    if error > POSE_TOLERANCE:
        raise DataError(
            f'frame {shot.name}: its pose is {error:.2g} away from any rotation and translation, '
            'which is all that a ROS pose holds'
        )
    return message
