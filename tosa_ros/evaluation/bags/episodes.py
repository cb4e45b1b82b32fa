"""OpenEQA folders to bags and back, without loss: pixels, raw depth, calibrations, poses, stamps.

A folder has no place for stamps, and a bag none for file names: they go into `stamps.txt` and
into the bag's metadata, where other readers do not mind them.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tosa_ros.depth.registration import register_depth
from tosa_ros.depth.sensor import SensorDepth
from tosa_ros.errors import DataError, MissingDependencyError
from tosa_ros.evaluation.bags.reading import BagFrames
from tosa_ros.frame_folder import MILLIMETRES, FrameFolder
from tosa_ros.frames import Frame, Intrinsics
from tosa_ros.messages import depth_from_message, pose_from_message
from tosa_ros.pictures import open_picture
from tosa_ros.synthetic.bags import (
    BAG_VERSION,
    COLOUR_TOPIC,
    DEPTH_TOPIC,
    INFO_TOPIC,
    OPTICAL_FRAME,
    POSE_TOPIC,
    START_S,
    WORLD_FRAME,
    quaternion,
)
from tosa_ros.synthetic.writing import into_place

DEPTH_INFO_TOPIC = '/camera/depth/camera_info'
STORAGES = ('mcap', 'sqlite3')
FORMATS = ('raw', 'png', 'jpeg')
STAMPS = 'stamps.txt'
CUSTOM_KEY = 'tosa_ros'
POSE_TOLERANCE = 1e-4  # of a pose's text with six digits, and no more
_NO_QUANTISATION = struct.pack('<iff', 0, 0.0, 0.0)

Progress = Callable[[int, int], None]


def episode_to_bag(
    folder: FrameFolder,
    out: Path,
    *,
    storage: str = 'mcap',
    image_format: str = 'raw',
    rate_hz: float = 1.0,
    progress: Progress | None = None,
) -> int:
    """Writes a folder's frames as a bag; returns how many.

    Depth in millimetres is written as 16UC1, in other units as 32FC1 metres, which holds them
    exactly. Depth of another size keeps it and gets its own camera_info.

    Args:
        image_format: 'raw', 'png' (compressed without loss) or 'jpeg' (colour with loss).
        rate_hz: of the stamps, where the folder has no stamps.txt.

    Raises:
        DataError: `out` is there already, or a pose is not a rotation and a translation.
    """
    try:
        from rosbags.rosbag2 import StoragePlugin, Writer
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise MissingDependencyError('rosbags', 'eval', 'writing a bag') from error
    if storage not in STORAGES or image_format not in FORMATS or not rate_hz > 0:
        raise DataError(
            f'storage {storage!r}, format {image_format!r}, rate {rate_hz}; wanted one of '
            f'{", ".join(STORAGES)}, one of {", ".join(FORMATS)}, and above 0'
        )
    store = get_typestore(Stores.ROS2_HUMBLE)  # these messages are the same in all later ones
    stamps = _read_stamps(folder, rate_hz)
    plugin = StoragePlugin.MCAP if storage == 'mcap' else StoragePlugin.SQLITE3

    def write(place: Path) -> None:
        with Writer(place, version=BAG_VERSION, storage_plugin=plugin) as writer:
            names = {'stems': folder.stems, 'depth_scale': folder.depth_scale}
            writer.set_custom_data(CUSTOM_KEY, json.dumps(names))
            connections: dict[str, Any] = {}
            for index, stamp in enumerate(stamps):
                maker = _Messages(store.types, stamp, image_format)
                for topic, message in maker.of(folder, index).items():
                    if topic not in connections:
                        connections[topic] = writer.add_connection(
                            topic, message.__msgtype__, typestore=store
                        )
                    data = store.serialize_cdr(message, message.__msgtype__)
                    writer.write(connections[topic], stamp, data)
                if progress:
                    progress(index + 1, len(stamps))

    into_place(out, write)
    return len(stamps)


def bag_to_episode(
    frames: BagFrames,
    out: Path,
    *,
    every: int = 1,
    depth_scale: float | None = None,
    progress: Progress | None = None,
) -> int:
    """Writes a bag's frames as a folder in OpenEQA's layout; returns how many.

    Depth of type 16UC1 is written in millimetres, 32FC1 in units of 1 / depth_scale metres (by
    default what the bag was made from, else millimetres). Depth of another camera is registered
    to colour, but where the folder's reader does that: of another size, at the same place.

    Raises:
        DataError: `out` is there already, or depth does not fit 16 bits at that scale.
        DepthError: a scale that is none.
        RosError: an image cannot be read.
    """
    if every < 1:
        raise DataError(f'every: {every}; wanted 1 or more')
    chosen = range(0, len(frames), every)

    def write(place: Path) -> None:
        place.mkdir()
        with frames.opened() as bag:
            names = _custom(bag)
            stems = names.get('stems', [])
            if len(stems) != len(frames):
                stems = [f'{i:06d}' for i in range(len(frames))]
            known = names.get('depth_scale', MILLIMETRES)
            scale = SensorDepth(scale=known if depth_scale is None else depth_scale).scale
            colour_camera = depth_camera = None
            for done, index in enumerate(chosen, start=1):
                frame = frames.frame(bag, index)
                own = _write_depth(place, stems[index], frames, bag, index, frame, scale)
                _write_frame(place, stems[index], frame)
                colour_camera, depth_camera = frame.intrinsics, own or depth_camera
                if progress:
                    progress(done, len(chosen))
        _write_cameras(place, colour_camera, depth_camera)
        lines = (f'{stems[i]} {_seconds(frames.stamps_ns[i])}\n' for i in chosen)
        (place / STAMPS).write_text(''.join(lines))

    into_place(out, write)
    return len(chosen)


@dataclass
class _Messages:
    """Makes the messages of one instant."""

    types: dict[str, Any]
    stamp: int
    image_format: str

    def of(self, folder: FrameFolder, index: int) -> dict[str, Any]:
        """topic -> message of a folder's frame."""
        files, frame = folder.files[index], folder[index]
        made = self._colour(frame.rgb)
        own_camera = None
        if files.depth is not None:
            raw = _read_depth(files.depth)
            made |= self._depth(raw, folder.depth_scale)
            own_camera = _own_camera(folder, raw, frame.intrinsics)
        if frame.intrinsics is not None:
            made[INFO_TOPIC] = self._info(frame.intrinsics)
        if own_camera is not None:
            made[DEPTH_INFO_TOPIC] = self._info(own_camera)
        if frame.pose is not None:
            made[POSE_TOPIC] = self._pose(frame.pose, files.stem)
        return made

    def _header(self, frame_id: str = OPTICAL_FRAME) -> Any:
        time = self.types['builtin_interfaces/msg/Time'](*divmod(self.stamp, 10**9))
        return self.types['std_msgs/msg/Header'](time, frame_id)

    def _colour(self, rgb: np.ndarray) -> dict[str, Any]:
        if self.image_format == 'raw':
            return {COLOUR_TOPIC: self._image(rgb, 'rgb8')}
        message = self._compressed(self.image_format, _encoded(rgb, self.image_format))
        return {f'{COLOUR_TOPIC}/compressed': message}

    def _depth(self, raw: np.ndarray, scale: float) -> dict[str, Any]:
        if scale != MILLIMETRES:
            metres = np.where(raw > 0, raw / np.float32(scale), np.float32(np.nan))
            return {DEPTH_TOPIC: self._image(metres.astype(np.float32), '32FC1')}
        if self.image_format == 'raw':
            return {DEPTH_TOPIC: self._image(raw, '16UC1')}
        data = _NO_QUANTISATION + _encoded(raw, 'png')
        message = self._compressed('16UC1; compressedDepth', data)
        return {f'{DEPTH_TOPIC}/compressedDepth': message}

    def _image(self, pixels: np.ndarray, encoding: str) -> Any:
        pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder('<'))
        height, width = pixels.shape[:2]
        data = pixels.view(np.uint8).ravel()
        return self.types['sensor_msgs/msg/Image'](
            self._header(), height, width, encoding, 0, data.size // height, data
        )

    def _compressed(self, name: str, data: bytes) -> Any:
        return self.types['sensor_msgs/msg/CompressedImage'](
            self._header(), name, np.frombuffer(data, np.uint8)
        )

    def _info(self, camera: Intrinsics) -> Any:
        k = camera.matrix()
        return self.types['sensor_msgs/msg/CameraInfo'](
            header=self._header(),
            height=camera.height,
            width=camera.width,
            distortion_model='plumb_bob',
            d=np.zeros(5),
            k=k.ravel(),
            r=np.eye(3).ravel(),
            p=np.hstack([k, np.zeros((3, 1))]).ravel(),
            binning_x=0,
            binning_y=0,
            roi=self.types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False),
        )

    def _pose(self, matrix: np.ndarray, stem: str) -> Any:
        pose = self.types['geometry_msgs/msg/Pose'](
            self.types['geometry_msgs/msg/Point'](*map(float, matrix[:3, 3])),
            self.types['geometry_msgs/msg/Quaternion'](*quaternion(matrix[:3, :3])),
        )
        error = np.abs(pose_from_message(pose) - matrix).max()
        if error > POSE_TOLERANCE:
            raise DataError(
                f'frame {stem}: its pose is {error:.2g} away from any rotation and translation, '
                'which is all that a ROS pose holds'
            )
        return self.types['geometry_msgs/msg/PoseStamped'](self._header(WORLD_FRAME), pose)


def _own_camera(
    folder: FrameFolder, raw: np.ndarray, colour: Intrinsics | None
) -> Intrinsics | None:
    """The depth camera, where it is not colour's."""
    if folder.depth_intrinsics is None or colour is None:
        return None
    height, width = raw.shape
    if (width, height) == (colour.width, colour.height):
        return None  # a folder's depth of colour's size is on colour's pixels
    fx, fy, cx, cy = map(float, folder.depth_intrinsics)
    return Intrinsics(fx, fy, cx, cy, width, height)


def _write_frame(place: Path, stem: str, frame: Frame) -> None:
    Image.fromarray(frame.rgb).save(place / f'{stem}-rgb.png')
    if frame.pose is not None:
        (place / f'{stem}.txt').write_text(_matrix_text(frame.pose))


def _write_depth(
    place: Path, stem: str, frames: BagFrames, bag: Any, index: int, frame: Frame, scale: float
) -> Intrinsics | None:
    """Writes depth; returns its camera, where the file has that camera's pixels, not colour's.

    A folder registers depth of another size by cameras at the same place. Depth stays as it was
    seen only where that gives the frame's depth again.
    """
    message, own = frames.depth_message(bag, index), frames.depth_camera
    if message is None or frame.depth_m is None:
        return None
    raw = depth_from_message(message)
    in_millimetres = raw.dtype == np.uint16
    metres = SensorDepth(scale=MILLIMETRES).from_array(raw) if in_millimetres else raw
    if not _reads_back(metres, own, frame):
        metres, own = frame.depth_m, None
    units = _units(metres, MILLIMETRES if in_millimetres else scale, stem)
    Image.fromarray(units).save(place / f'{stem}-depth.png')
    return own


def _reads_back(metres: np.ndarray, own: Intrinsics | None, frame: Frame) -> bool:
    if own is None or frame.intrinsics is None:
        return False
    if metres.shape != (own.height, own.width) or metres.shape == frame.rgb.shape[:2]:
        return False
    registered = register_depth(metres, own, frame.intrinsics)
    return np.array_equal(registered, frame.depth_m, equal_nan=True)


def _units(metres: np.ndarray, scale: float, stem: str) -> np.ndarray:
    with np.errstate(invalid='ignore'):
        units = np.rint(np.where(np.isfinite(metres) & (metres > 0), metres, 0) * float(scale))
    if units.max() > np.iinfo(np.uint16).max:
        raise DataError(
            f'frame {stem}: depth of {units.max() / scale:.4g} m does not fit 16 bits at '
            f'{scale:g} units a metre; lower --depth-scale'
        )
    return units.astype(np.uint16)


def _write_cameras(place: Path, colour: Intrinsics | None, depth: Intrinsics | None) -> None:
    if colour is None:
        return
    for name, k in (('intrinsic_color.txt', colour), ('intrinsic_depth.txt', depth or colour)):
        matrix = np.eye(4)
        matrix[:3, :3] = k.matrix()
        (place / name).write_text(_matrix_text(matrix))


def _read_depth(path: Path) -> np.ndarray:
    picture = open_picture(path, str(path), DataError, ('PNG',))
    return np.asarray(picture).astype(np.uint16)


def _read_stamps(folder: FrameFolder, rate_hz: float) -> list[int]:
    """Nanoseconds of each frame: the folder's own, or evenly spread ones."""
    path = folder.path / STAMPS
    if not path.is_file():
        return [START_S * 10**9 + round(i * 1e9 / rate_hz) for i in range(len(folder))]
    try:
        rows = dict(line.split() for line in path.read_text().splitlines())
        return [round(Decimal(rows[stem]) * 10**9) for stem in folder.stems]
    except (ValueError, KeyError, InvalidOperation) as error:
        raise DataError(f'{path}: wanted a stem and seconds for every frame: {error}') from error


def _seconds(stamp_ns: int) -> str:
    return f'{stamp_ns // 10**9}.{stamp_ns % 10**9:09d}'  # a float would not hold them all


def _custom(bag: Any) -> dict[str, Any]:
    metadata = getattr(getattr(bag.readers[0], 'storage', None), 'metadata', None)
    custom = getattr(metadata, 'custom', None) or {}
    return json.loads(custom[CUSTOM_KEY]) if CUSTOM_KEY in custom else {}


def _encoded(pixels: np.ndarray, image_format: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, image_format.upper())
    return stream.getvalue()


def _matrix_text(matrix: np.ndarray) -> str:
    return '\n'.join(' '.join(repr(float(x)) for x in row) for row in matrix) + '\n'
