"""MessageMaker: arrays, cameras and poses -> messages, of rclpy's classes or of rosbags'."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from tosa_ros.errors import RosError
from tosa_ros.frames import Intrinsics
from tosa_ros.messages.compressed_depth import DEPTH_HEADER
from tosa_ros.messages.poses import quaternion
from tosa_ros.messages.raw import ENCODINGS
from tosa_ros.messages.stamps import split_ns


@dataclass(frozen=True)
class MessageMaker:
    """Makes messages of the classes it is given.

    type_of: the class of 'sensor_msgs/msg/Image' and the like.
    sequence: (N,) uint8 or float64 -> what those classes take as a sequence of numbers.
    """

    type_of: Callable[[str], Any]
    sequence: Callable[[np.ndarray], Any]

    def time(self, stamp_ns: int) -> Any:
        """A builtin_interfaces/Time."""
        sec, nanosec = split_ns(stamp_ns)
        return self.type_of('builtin_interfaces/msg/Time')(sec=sec, nanosec=nanosec)

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        """A std_msgs/Header."""
        kind = self.type_of('std_msgs/msg/Header')
        return kind(stamp=self.time(stamp_ns), frame_id=frame_id)

    def image(self, pixels: np.ndarray, encoding: str, header: Any) -> Any:
        """A sensor_msgs/Image of (H, W) or (H, W, C) pixels that `encoding` names, little-endian.

        Raises:
            RosError: pixels that are not of this encoding.
        """
        dtype, channels = ENCODINGS[encoding]
        if pixels.dtype != dtype or (pixels.shape[2] if pixels.ndim == 3 else 1) != channels:
            raise RosError(
                f'image: shape {pixels.shape}, dtype {pixels.dtype} is not {encoding}; wanted '
                f'{channels} channels of {np.dtype(dtype)}'
            )
        height, width = pixels.shape[:2]
        data = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder('<')).reshape(-1)
        return self.type_of('sensor_msgs/msg/Image')(
            header=header,
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=width * channels * pixels.dtype.itemsize,
            data=self.sequence(data.view(np.uint8)),
        )

    def compressed(self, rgb: np.ndarray, header: Any, image_format: str = 'jpeg') -> Any:
        """A sensor_msgs/CompressedImage (jpeg or png) of rgb (H, W, 3) uint8."""
        return self._compressed(image_format, encoded(rgb, image_format), header)

    def compressed_depth(self, raw: np.ndarray, header: Any) -> Any:
        """A CompressedImage of the transport compressedDepth, of raw (H, W) uint16; lossless."""
        data = DEPTH_HEADER.pack(0, 0.0, 0.0) + encoded(raw, 'png')
        return self._compressed('16UC1; compressedDepth', data, header)

    def camera_info(self, camera: Intrinsics, header: Any) -> Any:
        """A sensor_msgs/CameraInfo of a pinhole camera without distortion."""
        k = camera.matrix()
        return self.type_of('sensor_msgs/msg/CameraInfo')(
            header=header,
            height=camera.height,
            width=camera.width,
            distortion_model='plumb_bob',
            d=self.sequence(np.zeros(5)),
            k=k.ravel(),
            r=np.eye(3).ravel(),
            p=np.hstack([k, np.zeros((3, 1))]).ravel(),
            binning_x=0,
            binning_y=0,
            roi=self.type_of('sensor_msgs/msg/RegionOfInterest')(
                x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
            ),
        )

    def pose(self, matrix: np.ndarray, header: Any) -> Any:
        """A geometry_msgs/PoseStamped of a (4, 4) rotation and translation."""
        x, y, z = map(float, matrix[:3, 3])
        turn = dict(zip('xyzw', quaternion(matrix[:3, :3]), strict=True))
        pose = self.type_of('geometry_msgs/msg/Pose')(
            position=self.type_of('geometry_msgs/msg/Point')(x=x, y=y, z=z),
            orientation=self.type_of('geometry_msgs/msg/Quaternion')(**turn),
        )
        return self.type_of('geometry_msgs/msg/PoseStamped')(header=header, pose=pose)

    def _compressed(self, name: str, data: bytes, header: Any) -> Any:
        return self.type_of('sensor_msgs/msg/CompressedImage')(
            header=header, format=name, data=self.sequence(np.frombuffer(data, np.uint8))
        )


def encoded(pixels: np.ndarray, image_format: str) -> bytes:
    """An image file's bytes, 'png' or 'jpeg'."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, image_format.upper())
    return stream.getvalue()
