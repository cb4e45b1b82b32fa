"""Cameras as their drivers publish them by default, simulated.

On the topics that config/cameras.yaml has for the camera, until a signal ends it.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from tosa_ros.frames import Intrinsics
from tosa_ros.ros.cameras import camera_choices
from tosa_ros.ros.conversions import camera_info_message, image_message, stamp_message
from tosa_ros.ros.topics import qos_profile

HD = Intrinsics(910.0, 910.0, 640.0, 360.0, 1280, 720)
OWN = Intrinsics(425.0, 425.0, 424.0, 240.0, 848, 480)
# The depth camera is 15 mm left of colour, as in a RealSense D435.
BASELINE_M = 0.015
EXTRINSIC = f'{-BASELINE_M},0,0,0,0,0,1'  # As /tf_static of such a driver would say.
FAR_M, NEAR_M = 3.0, 1.5


@dataclass(frozen=True)
class Layout:
    """What a driver publishes by default.

    colour: its camera. depth: its camera; None where there is no depth camera.
    lag_s: stamps of depth after colour. aligned: depth is in colour's frame and pixels.
    """

    encoding: str
    rate_hz: float
    depth_encoding: str = '16UC1'
    colour: Intrinsics = HD
    depth: Intrinsics | None = HD
    aligned: bool = True
    lag_s: float = 0.0
    reliable: bool = True
    colour_frame: str = 'camera_color_optical_frame'
    depth_frame: str = 'camera_depth_optical_frame'
    missing: tuple[float, ...] = (np.nan,)
    distortion: tuple[float, ...] = ()

    def scaled(self, share: int) -> Layout:
        """The same with a share-th of the pixels a side, for a machine that is busy."""
        small = {
            name: camera.scaled(camera.width // share, camera.height // share)
            for name in ('colour', 'depth')
            if (camera := getattr(self, name)) is not None
        }
        return replace(self, **small)


LAYOUTS = {
    'realsense': Layout('rgb8', 30, lag_s=0.016),
    'realsense_unaligned': Layout('rgb8', 30, depth=OWN, aligned=False, lag_s=0.016),
    'zed': Layout('bgra8', 15, '32FC1', missing=(np.nan, np.inf, -np.inf)),
    'oak': Layout('bgr8', 15, lag_s=0.030, colour_frame='oak_rgb_camera_optical_frame'),
    'orbbec': Layout('rgb8', 30, depth=OWN, aligned=False, lag_s=0.001),
    'azure': Layout('bgra8', 5, '32FC1', distortion=(0.5, -2.7, 0.0, 0.0, 1.5, 0.4, -2.5, 1.5)),
    'gazebo': Layout(
        'rgb8', 30, '32FC1', colour_frame='rgbd_camera/link/rgbd_camera', missing=(np.inf,)
    ),
    'usb': Layout('yuv422_yuy2', 30, depth=None, reliable=False, colour_frame='camera'),
}


class Driver:
    """Publishes on the topics that the table names, a box before a wall, as a layout has it."""

    def __init__(self, node: Node, layout: Layout, topics: Mapping[str, str]) -> None:
        self.layout, self.ended = layout, threading.Event()
        self.thread = threading.Thread(target=self._run)
        qos = qos_profile('viewer' if layout.reliable else 'sensor')
        self.mouths = {
            name: node.create_publisher(kind, topic, qos)
            for name, topic in topics.items()
            for kind in [CameraInfo if 'info' in name else Image]
        }
        self.depth_frame = layout.colour_frame if layout.aligned else layout.depth_frame
        self.colour = self._colour()
        self.depth = None if layout.depth is None else self._depth()

    def _colour(self) -> np.ndarray:
        rgb = np.random.default_rng(0).integers(
            0, 256, (self.layout.colour.height, self.layout.colour.width, 4), np.uint8
        )
        channels = {'rgb8': 3, 'bgr8': 3, 'bgra8': 4, 'yuv422_yuy2': 2}[self.layout.encoding]
        return rgb[..., :channels]

    def _depth(self) -> np.ndarray:
        """Colour sees the box in the middle third of its columns, wherever depth is."""
        k, layout, seen = self.layout.depth, self.layout, self.layout.colour
        edges = (seen.width / 3, seen.width * 2 / 3)
        left, right = ((c - seen.cx) / seen.fx * NEAR_M for c in edges)
        shift = 0.0 if layout.aligned else BASELINE_M
        columns = (np.arange(k.width) - k.cx) / k.fx * NEAR_M - shift
        row = np.where((columns >= left) & (columns < right), NEAR_M, FAR_M)
        depth = np.tile(row.astype(np.float32), (k.height, 1))
        for index, value in enumerate(layout.missing):
            depth[index::7, ::11] = value
        if layout.depth_encoding == '32FC1':
            return depth
        return np.where(np.isfinite(depth), depth * 1000, 0).astype(np.uint16)

    def __enter__(self) -> Driver:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()

    def _run(self) -> None:
        """Publishes in the order of stamps, at the camera's rate."""
        layout, due = self.layout, time.time()
        while not self.ended.is_set():
            self._send('image', due, self.colour, layout.encoding, layout.colour_frame)
            self._info('camera_info', due, layout.colour, layout.colour_frame, layout.distortion)
            if self.depth is not None:
                stamp = due + layout.lag_s
                time.sleep(max(0.0, stamp - time.time()))
                self._send('depth', stamp, self.depth, layout.depth_encoding, self.depth_frame)
                self._info('depth_camera_info', stamp, layout.depth, self.depth_frame, ())
            # A busy machine makes it slower, as it does a real driver.
            due = max(due + 1 / layout.rate_hz, time.time())
            time.sleep(max(0.0, due - time.time()))

    def _send(
        self, name: str, stamp: float, pixels: np.ndarray, encoding: str, frame: str
    ) -> None:
        header = Header(frame_id=frame, stamp=stamp_message(stamp))
        self.mouths[name].publish(image_message(pixels, encoding, header))

    def _info(
        self,
        name: str,
        stamp: float,
        camera: Intrinsics,
        frame: str,
        distortion: tuple[float, ...],
    ) -> None:
        if name in self.mouths:
            header = Header(frame_id=frame, stamp=stamp_message(stamp))
            info = camera_info_message(camera, header)
            info.d = list(distortion)
            info.distortion_model = 'rational_polynomial' if distortion else 'plumb_bob'
            self.mouths[name].publish(info)


def topics_of(camera: str) -> dict[str, str]:
    """Names as in a bag (image, depth, ...) to the topics of a camera in config/cameras.yaml."""
    row = camera_choices(camera)
    return {key.removesuffix('_topic'): row[key] for key in row if key.endswith('_topic')}


def main(camera: str, share: str) -> None:
    # The thread that publishes ends first.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = Node('bench_driver')
    with Driver(node, LAYOUTS[camera].scaled(int(share)), topics_of(camera)):
        rclpy.spin(node)


if __name__ == '__main__':
    with contextlib.suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
