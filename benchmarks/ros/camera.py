"""A camera process: colour, aligned 16-bit depth and calibration, made once and sent at a rate.

    python -m benchmarks.ros.camera 1280x720 30

Making pictures would take the time that is to be measured.
"""

from __future__ import annotations

import contextlib
import sys

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from benchmarks.depth_cost import picture
from tosa_ros.frames import Intrinsics
from tosa_ros.ros.camera_node import OPTICAL_FRAME
from tosa_ros.ros.conversions import camera_info_message, image_message
from tosa_ros.ros.topics import qos_profile


def sized(text: str) -> tuple[int, int]:
    """Width and height of 'WIDTHxHEIGHT'."""
    width, height = (int(side) for side in text.split('x'))
    return width, height


def messages(width: int, height: int) -> tuple[CameraInfo, Image, Image]:
    """camera_info, image (rgb8) and sensor_depth (16UC1, millimetres) of one view."""
    rgb, raw = picture(width, height)
    camera = Intrinsics(0.8 * width, 0.8 * width, width / 2, height / 2, width, height)
    header = Header(frame_id=OPTICAL_FRAME)
    return (
        camera_info_message(camera, header),
        image_message(rgb, 'rgb8', header),
        image_message(raw, '16UC1', header),
    )


def main(size: str, rate: str) -> None:
    rclpy.init()
    node = Node('bench_camera')
    view = messages(*sized(size))
    names = ('camera_info', 'image', 'sensor_depth')
    publishers = [
        node.create_publisher(type(message), name, qos_profile('viewer'))
        for name, message in zip(names, view, strict=True)
    ]

    def tick() -> None:
        stamp = node.get_clock().now().to_msg()
        for publisher, message in zip(publishers, view, strict=True):
            message.header.stamp = stamp
            publisher.publish(message)

    node.create_timer(1 / float(rate), tick, clock=Clock(clock_type=ClockType.STEADY_TIME))
    rclpy.spin(node)


if __name__ == '__main__':
    with contextlib.suppress(KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        main(*sys.argv[1:])
