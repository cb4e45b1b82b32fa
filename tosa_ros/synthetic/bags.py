"""Episodes as ROS 2 bags (mcap), as a robot's camera driver would have recorded them.

Topics: colour (rgb8), depth (16UC1 millimetres, REP-118), camera info and the camera's pose.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tosa_ros.errors import MissingDependencyError
from tosa_ros.frames import Frame
from tosa_ros.synthetic.episodes import Episode
from tosa_ros.synthetic.writing import into_place

COLOUR_TOPIC = '/camera/color/image_raw'
DEPTH_TOPIC = '/camera/depth/image_raw'
INFO_TOPIC = '/camera/color/camera_info'
POSE_TOPIC = '/camera/pose'
OPTICAL_FRAME = 'camera_color_optical_frame'
WORLD_FRAME = 'map'
START_S = 1_000_000_000  # a frame's stamp 0 in the bag: ROS reads 0 as no time at all
BAG_VERSION = 9


def write_bag(path: Path, episode: Episode) -> None:
    """Writes an episode as a rosbag2 folder (mcap).

    Raises:
        DataError: the folder is there already or cannot be written.
        MissingDependencyError: rosbags is not installed.
    """
    try:
        from rosbags.rosbag2 import StoragePlugin, Writer
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise MissingDependencyError('rosbags', 'eval', 'writing a bag') from error
    store = get_typestore(Stores.ROS2_HUMBLE)  # these messages are the same in all later ones

    def write(place: Path) -> None:
        with Writer(place, version=BAG_VERSION, storage_plugin=StoragePlugin.MCAP) as writer:
            connections = {
                topic: writer.add_connection(topic, kind, typestore=store)
                for topic, kind in (
                    (COLOUR_TOPIC, 'sensor_msgs/msg/Image'),
                    (DEPTH_TOPIC, 'sensor_msgs/msg/Image'),
                    (INFO_TOPIC, 'sensor_msgs/msg/CameraInfo'),
                    (POSE_TOPIC, 'geometry_msgs/msg/PoseStamped'),
                )
            }
            for frame in episode.frames:
                stamp_ns = START_S * 10**9 + round(frame.stamp * 1e9)
                for topic, message in _messages(store.types, frame, stamp_ns).items():
                    data = store.serialize_cdr(message, message.__msgtype__)
                    writer.write(connections[topic], stamp_ns, data)

    into_place(path, write)


def _messages(types: dict[str, Any], frame: Frame, stamp_ns: int) -> dict[str, Any]:
    time = types['builtin_interfaces/msg/Time'](*divmod(stamp_ns, 10**9))
    header = types['std_msgs/msg/Header'](time, OPTICAL_FRAME)
    in_world = types['std_msgs/msg/Header'](time, WORLD_FRAME)
    k = frame.intrinsics.matrix()
    info = types['sensor_msgs/msg/CameraInfo'](
        header=header,
        height=frame.height,
        width=frame.width,
        distortion_model='plumb_bob',
        d=np.zeros(5),
        k=k.ravel(),
        r=np.eye(3).ravel(),
        p=np.hstack([k, np.zeros((3, 1))]).ravel(),
        binning_x=0,
        binning_y=0,
        roi=types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False),
    )
    pose = types['geometry_msgs/msg/Pose'](
        types['geometry_msgs/msg/Point'](*map(float, frame.pose[:3, 3])),
        types['geometry_msgs/msg/Quaternion'](*quaternion(frame.pose[:3, :3])),
    )
    return {
        COLOUR_TOPIC: _image(types, header, frame.rgb, 'rgb8'),
        DEPTH_TOPIC: _image(types, header, millimetres(frame.depth_m), '16UC1'),
        INFO_TOPIC: info,
        POSE_TOPIC: types['geometry_msgs/msg/PoseStamped'](in_world, pose),
    }


def _image(types: dict[str, Any], header: Any, pixels: np.ndarray, encoding: str) -> Any:
    data = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder('<'))).view(np.uint8)
    height, width = pixels.shape[:2]
    return types['sensor_msgs/msg/Image'](
        header, height, width, encoding, 0, data.size // height, data.ravel()
    )


def millimetres(depth_m: np.ndarray) -> np.ndarray:
    """Depth (H, W) uint16 millimetres as in REP-118, 0 where there is none or it is too far."""
    depth = np.rint(np.nan_to_num(depth_m, nan=0.0) * 1000)
    return np.where(depth > np.iinfo(np.uint16).max, 0, depth).astype(np.uint16)


def quaternion(rotation: np.ndarray) -> tuple[float, float, float, float]:
    """(x, y, z, w) of a rotation matrix (3, 3): the largest eigenvector of Bar-Itzhack's matrix,
    which is well behaved for every rotation (J. Guidance 23(6), 2000)."""
    (a, b, c), (d, e, f), (g, h, i) = np.asarray(rotation, np.float64)
    symmetric = np.array(
        [
            [a - e - i, b + d, c + g, h - f],
            [b + d, e - a - i, f + h, c - g],
            [c + g, f + h, i - a - e, d - b],
            [h - f, c - g, d - b, a + e + i],
        ]
    )
    x, y, z, w = np.linalg.eigh(symmetric)[1][:, -1]
    sign = 1.0 if w >= 0 else -1.0
    return float(x * sign), float(y * sign), float(z * sign), float(w * sign)
