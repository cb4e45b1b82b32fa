"""ROS alone: the graph's messages between two processes that compute nothing.

    python -m benchmarks.ros.relay depth 640x480
    python -m benchmarks.ros.relay tokens 640x480

depth: publishes a depth image of 32FC1 for each one of sensor_depth, as depth_node does. tokens:
publishes a cloud of tokens for each image whose depth has come, as vision_node does.
"""

from __future__ import annotations

import contextlib
import sys

import rclpy
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from benchmarks.ros.camera import messages, sized
from tosa_ros.messages import depth_from_message, stamp_ns
from tosa_ros.ros.conversions import image_message
from tosa_ros.ros.topics import qos_profile, reliability


class Relay(Node):
    """Either process. role: 'depth' or 'tokens'."""

    def __init__(self, role: str, width: int, height: int) -> None:
        super().__init__(f'bench_{role}')
        self._came: dict[int, set[str]] = {}
        if role == 'depth':
            raw = depth_from_message(messages(width, height)[2])
            self._made = image_message(raw.astype('float32'), '32FC1', Header())
            self._publisher = self.create_publisher(Image, 'depth', qos_profile('viewer'))
            self._hear(Image, 'sensor_depth', self._publish)
            return
        self._made = _cloud(width, height)
        self._publisher = self.create_publisher(
            PointCloud2, 'visual_tokens', qos_profile('viewer')
        )
        for kind, name in ((Image, 'image'), (Image, 'depth'), (CameraInfo, 'camera_info')):
            self._hear(kind, name, lambda message, name=name: self._pair(name, message))

    def _hear(self, kind: type, name: str, came: object) -> None:
        qos = qos_profile('sensor')
        qos.reliability = reliability(True)  # as the nodes do, for a camera that is reliable
        self.create_subscription(kind, name, came, qos)

    def _pair(self, name: str, message: Image | CameraInfo) -> None:
        stamp = stamp_ns(message.header.stamp)
        names = self._came.setdefault(stamp, set())
        names.add(name)
        if {'image', 'depth'} <= names:
            self._came = {late: kept for late, kept in self._came.items() if late > stamp}
            self._publish(message)

    def _publish(self, message: Image) -> None:
        self._made.header = message.header
        self._publisher.publish(self._made)


def _cloud(width: int, height: int) -> PointCloud2:
    """Tokens of the embedded model at the default keep."""
    from tosa_ros.assets import embedded_model
    from tosa_ros.frames import Frame
    from tosa_ros.messages import rgb_from_message
    from tosa_ros.ros.token_cloud import cloud_from_tokens
    from tosa_ros.vlm import VisionEncoder

    info, image, _ = messages(width, height)
    frame = Frame(rgb=rgb_from_message(image))
    tokens = VisionEncoder.from_pretrained(embedded_model()).encode([frame])[0]
    return cloud_from_tokens(tokens, info.header, width, height)


def main(role: str, size: str) -> None:
    rclpy.init()
    rclpy.spin(Relay(role, *sized(size)))


if __name__ == '__main__':
    with contextlib.suppress(KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        main(*sys.argv[1:])
