"""Each camera of config/cameras.yaml, as its driver publishes: simulated, through real nodes."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest

from tosa_ros.errors import RosError
from tosa_ros.frames import Intrinsics
from tosa_ros.ros.bringup import Graph
from tosa_ros.ros.cameras import camera_choices, camera_names

pytest.importorskip('rclpy')

from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from tosa_ros.ros.conversions import camera_info_message, image_message, stamp_message
from tosa_ros.ros.depth_node import DepthNode
from tosa_ros.ros.token_cloud import tokens_from_cloud
from tosa_ros.ros.topics import qos_profile
from tosa_ros.ros.vision_node import VisionNode

# A quarter of what the drivers send, so that a busy machine keeps up with their rates.
HD = Intrinsics(910.0, 910.0, 640.0, 360.0, 1280, 720).scaled(320, 180)
OWN = Intrinsics(425.0, 425.0, 424.0, 240.0, 848, 480).scaled(212, 120)
# The depth camera is 15 mm left of colour, as in a RealSense D435.
BASELINE_M = 0.015
IDENTITY = '0,0,0,1'
FAR_M, NEAR_M = 3.0, 1.5


@dataclass(frozen=True)
class Layout:
    """What a driver publishes by default.

    depth: its camera; None where there is no depth camera. lag_s: stamps of depth after colour.
    aligned: depth is in colour's frame and pixels.
    """

    encoding: str
    rate_hz: float
    depth_encoding: str = '16UC1'
    depth: Intrinsics | None = HD
    aligned: bool = True
    lag_s: float = 0.0
    reliable: bool = True
    colour_frame: str = 'camera_color_optical_frame'
    depth_frame: str = 'camera_depth_optical_frame'
    missing: tuple[float, ...] = (np.nan,)
    distortion: tuple[float, ...] = ()


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

    def __init__(self, node, layout, topics):
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

    def _colour(self):
        rgb = np.random.default_rng(0).integers(0, 256, (HD.height, HD.width, 4), np.uint8)
        channels = {'rgb8': 3, 'bgr8': 3, 'bgra8': 4, 'yuv422_yuy2': 2}[self.layout.encoding]
        return rgb[..., :channels]

    def _depth(self):
        """Colour sees the box in the middle third of its columns, wherever depth is."""
        k, layout = self.layout.depth, self.layout
        left, right = ((c - HD.cx) / HD.fx * NEAR_M for c in (HD.width / 3, HD.width * 2 / 3))
        shift = 0.0 if layout.aligned else BASELINE_M
        columns = (np.arange(k.width) - k.cx) / k.fx * NEAR_M - shift
        row = np.where((columns >= left) & (columns < right), NEAR_M, FAR_M)
        depth = np.tile(row.astype(np.float32), (k.height, 1))
        for index, value in enumerate(layout.missing):
            depth[index::7, ::11] = value
        if layout.depth_encoding == '32FC1':
            return depth
        return np.where(np.isfinite(depth), depth * 1000, 0).astype(np.uint16)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def _run(self):
        """Publishes in the order of stamps, at the camera's rate."""
        layout, due = self.layout, time.time()
        while not self.ended.is_set():
            self._send('image', due, self.colour, layout.encoding, layout.colour_frame)
            self._info('camera_info', due, HD, layout.colour_frame, layout.distortion)
            if self.depth is not None:
                stamp = due + layout.lag_s
                time.sleep(max(0.0, stamp - time.time()))
                self._send('depth', stamp, self.depth, layout.depth_encoding, self.depth_frame)
                self._info('depth_camera_info', stamp, layout.depth, self.depth_frame, ())
            # A busy machine makes it slower, as it does a real driver.
            due = max(due + 1 / layout.rate_hz, time.time())
            time.sleep(max(0.0, due - time.time()))

    def _send(self, name, stamp, pixels, encoding, frame):
        header = Header(frame_id=frame, stamp=stamp_message(stamp))
        self.mouths[name].publish(image_message(pixels, encoding, header))

    def _info(self, name, stamp, camera, frame, distortion):
        if name in self.mouths:
            header = Header(frame_id=frame, stamp=stamp_message(stamp))
            info = camera_info_message(camera, header)
            info.d = list(distortion)
            info.distortion_model = 'rational_polynomial' if distortion else 'plumb_bob'
            self.mouths[name].publish(info)


def test_every_camera_of_the_table_has_a_layout():
    assert set(camera_names()) == set(LAYOUTS)


@pytest.mark.parametrize('name', LAYOUTS)
def test_a_camera_is_understood_by_its_name(bench, node_here, checkpoint, name):
    layout = LAYOUTS[name]
    # What tf says of a real one is in test_static_extrinsic.
    extrinsic = None if layout.aligned else f'{-BASELINE_M},0,0,{IDENTITY}'
    given = {'model': str(checkpoint), 'keep': 1.0, 'extrinsic': extrinsic}
    graph = Graph.of({'camera': name, **given})
    kinds = {'depth_node': DepthNode, 'vision_node': VisionNode}
    for node in graph.nodes[:-1]:
        node_here(kinds[node], options={'cli_args': graph.arguments()}, **graph.parameters(node))
    row = camera_choices(name)
    topics = {key.removesuffix('_topic'): row[key] for key in row if key.endswith('_topic')}
    with Driver(bench.node, layout, topics):
        cloud = bench.next(
            'visual_tokens',
            where=lambda cloud: layout.depth is None or tokens_from_cloud(cloud).spatial != 'none',
        )
        # From the first that has depth, all have.
        clouds = bench.received['visual_tokens']
        start = clouds.index(cloud)
        bench.wait(lambda: len(clouds) >= start + 5)
    for cloud in clouds[start:]:
        tokens = tokens_from_cloud(cloud)
        assert cloud.header.frame_id == layout.colour_frame
        assert tokens.spatial == ('none' if layout.depth is None else 'metric')
        if layout.depth is not None:
            check_places(tokens)


def check_places(tokens):
    """The box is where colour sees it, and the wall around it."""
    seen = np.isfinite(tokens.xyz[:, 2])  # Above and below a wide image is nothing.
    z, u = tokens.xyz[seen, 2], tokens.uv[seen, 0]
    third, margin = HD.width / 3, HD.width / 24
    inside = (u > third + margin) & (u < 2 * third - margin)
    outside = (u < third - margin) | (u > 2 * third + margin)
    assert inside.any()
    assert outside.any()
    np.testing.assert_allclose(z[inside], NEAR_M, rtol=0.02)
    np.testing.assert_allclose(z[outside], FAR_M, rtol=0.02)


def test_a_camera_of_one_s_own_and_what_is_given_wins(tmp_path):
    file = tmp_path / 'mine.yaml'
    file.write_text(
        'front:\n  image_topic: /front/image\n  depth_topic: /front/depth\n'
        '  depth_scale: 10000\n  rectified: true\n  extrinsic: [0.1, 0, 0, 0, 0, 0, 1]\n'
    )
    graph = Graph.of({'camera': f'{file}:front', 'depth_topic': '/other', 'keep': '0.5'})
    assert (graph.image_topic, graph.depth_topic) == ('/front/image', '/other')
    assert graph.chosen == {
        'depth_scale': 10000.0, 'rectified': True, 'keep': 0.5,
        'extrinsic': (0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    }  # fmt: skip
    assert graph.parameters('depth_node')['depth_scale'] == 10000.0


@pytest.mark.parametrize(
    ('text', 'camera', 'said'),
    [
        ('', 'kinect', 'camera: kinect; wanted one of realsense, '),
        ('a: {}', '{file}:b', 'mine.yaml:b; wanted one of a, or FILE.yaml:NAME'),
        ('a: {colour: x}', '{file}:a', 'mine.yaml:a: colour is not known; wanted driver, '),
        ('a: {sync_slop_s: 7}', '{file}:a', "sync_slop_s: '7'; wanted a number, 0 to 1 s"),
        ('a: {depth_source: lidar}', '{file}:a', "depth_source: 'lidar'; wanted one of sensor"),
        ('- a', '{file}:a', 'wanted rows NAME'),
        ('a: [', '{file}:a', 'not YAML'),
        ('a: {}', '/nowhere.yaml:a', '/nowhere.yaml: no such file'),
    ],
)
def test_a_camera_that_is_not_understood_is_one_line(tmp_path, text, camera, said):
    file = tmp_path / 'mine.yaml'
    file.write_text(text)
    with pytest.raises(RosError) as refused:
        Graph.of({'camera': camera.format(file=file)})
    assert said in str(refused.value)
    assert '\n' not in str(refused.value)
