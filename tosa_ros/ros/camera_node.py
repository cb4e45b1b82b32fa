"""CameraNode: frames as a camera driver publishes them, to try the graph without a camera."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from tosa_ros.depth import SensorDepth
from tosa_ros.frames import Frame
from tosa_ros.ros.conversions import camera_info_message, compressed_image_message, image_message
from tosa_ros.ros.topics import qos_profile

OPTICAL_FRAME = 'camera_color_optical_frame'
MILLIMETRES = SensorDepth(scale=1000)


class CameraNode(Node):
    """Publishes image, sensor_depth (16UC1, aligned to colour) and camera_info at a rate.

    Stamps are those of now; frames without depth or intrinsics are published without.
    compressed: JPEG on image/compressed instead of image. patient: wait with the first frame
    until a node subscribes.
    """

    def __init__(
        self,
        frames: Iterator[Frame],
        rate_hz: float,
        *,
        compressed: bool = False,
        patient: bool = False,
    ) -> None:
        super().__init__('tosa_camera')
        self._frames, self._compressed, self._patient = frames, compressed, patient
        self.published = 0
        self.ended = False
        qos = qos_profile('viewer')
        name = self.resolve_topic_name('image') + ('/compressed' if compressed else '')
        kind = CompressedImage if compressed else Image
        self._image = self.create_publisher(kind, name, qos)
        self._depth = self.create_publisher(Image, 'sensor_depth', qos)
        self._info = self.create_publisher(CameraInfo, 'camera_info', qos)
        self.create_timer(1 / rate_hz, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _tick(self) -> None:
        if self._patient and not self._image.get_subscription_count():
            return
        self._patient = False
        frame = next(self._frames, None)
        if frame is None:
            self.ended = True
            return
        header = Header(frame_id=OPTICAL_FRAME, stamp=self.get_clock().now().to_msg())
        if frame.intrinsics is not None:
            self._info.publish(camera_info_message(frame.intrinsics, header))
        self._image.publish(self._colour(frame, header))
        if frame.depth_m is not None:
            raw = MILLIMETRES.to_array(frame.depth_m, drop_far=True)
            self._depth.publish(image_message(raw, '16UC1', header))
        self.published += 1

    def _colour(self, frame: Frame, header: Any) -> Any:
        if self._compressed:
            return compressed_image_message(frame.rgb, header)
        return image_message(frame.rgb, 'rgb8', header)
