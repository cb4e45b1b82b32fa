"""Fixtures of several parts: frames, and folders and bags of them on disk."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from judge_server import Server

from tosa_ros.cli.main import build_parser
from tosa_ros.frames import Frame, Intrinsics
from tosa_ros.sources import write_folder

HEIGHT, WIDTH = 24, 32
START_NS = 10**18


@pytest.fixture(scope='session')
def frames():
    """Three frames with everything a frame can have; depth in whole millimetres."""
    rng = np.random.default_rng(0)
    camera = Intrinsics(40.0, 40.0, 15.5, 11.5, WIDTH, HEIGHT)
    made = []
    for i in range(3):
        depth = rng.integers(500, 4000, (HEIGHT, WIDTH)).astype(np.float32) / 1000
        depth[:2] = np.nan
        pose = np.eye(4)
        pose[:3, 3] = i, 0, 0.5
        rgb = rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        made.append(Frame(rgb, depth_m=depth, intrinsics=camera, pose=pose, stamp=10.0 + i))
    return made


@pytest.fixture
def write_json(tmp_path):
    """Writes a value under tmp_path and returns its path."""

    def write(name, value):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
        return path

    return write


@pytest.fixture
def serve():
    """Starts an OpenAI-compatible server; see `judge_server.Server`."""
    servers = []

    def start(answer, *more):
        server = Server(answer, *more)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def command():
    """Runs `tosa ARGS` and returns its exit code; errors are raised."""

    def run(*args):
        parsed = build_parser(args[0]).parse_args([str(arg) for arg in args])
        return parsed.run(parsed)

    return run


@pytest.fixture(scope='session')
def types():
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_HUMBLE)


@pytest.fixture
def write_bag(tmp_path, types):
    """Writes (topic, received_ns, message) as a bag; compressed: a file or a message at a time."""
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

    def write(messages, storage='mcap', name='bag', compressed=None):
        path = tmp_path / name
        writer = Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()])
        if compressed is not None:
            writer.set_compression(CompressionMode[compressed], CompressionFormat.ZSTD)
        with writer:
            known = {}
            for topic, received, message in messages:
                kind = message.__msgtype__
                if topic not in known:
                    known[topic] = writer.add_connection(topic, kind, typestore=types)
                writer.write(known[topic], received, types.serialize_cdr(message, kind))
        return path

    return write


@pytest.fixture
def make(types):
    """Makes messages: make.image(...), make.info(...), ..."""
    t = types.types

    def header(stamp_ns, frame):
        return t['std_msgs/msg/Header'](
            t['builtin_interfaces/msg/Time'](*divmod(stamp_ns, 10**9)), frame
        )

    def image(pixels, encoding, stamp_ns, frame='optical'):
        data = np.ascontiguousarray(pixels).view(np.uint8).ravel()
        height, width = pixels.shape[:2]
        return t['sensor_msgs/msg/Image'](
            header(stamp_ns, frame), height, width, encoding, 0, data.size // height, data
        )

    def compressed(data, name, stamp_ns, frame='optical'):
        return t['sensor_msgs/msg/CompressedImage'](
            header(stamp_ns, frame), name, np.frombuffer(data, np.uint8)
        )

    def info(k, stamp_ns=START_NS, frame='optical'):
        return t['sensor_msgs/msg/CameraInfo'](
            header=header(stamp_ns, frame),
            height=k.height,
            width=k.width,
            distortion_model='plumb_bob',
            d=np.zeros(5),
            k=k.matrix().ravel(),
            r=np.eye(3).ravel(),
            p=np.hstack([k.matrix(), np.zeros((3, 1))]).ravel(),
            binning_x=0,
            binning_y=0,
            roi=t['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False),
        )

    def transform(parent, child, xyz, stamp_ns, yaw=0.0):
        rotation = t['geometry_msgs/msg/Quaternion'](0, 0, np.sin(yaw / 2), np.cos(yaw / 2))
        return t['geometry_msgs/msg/TransformStamped'](
            header(stamp_ns, parent),
            child,
            t['geometry_msgs/msg/Transform'](
                t['geometry_msgs/msg/Vector3'](*map(float, xyz)), rotation
            ),
        )

    def tf(*transforms):
        return t['tf2_msgs/msg/TFMessage'](list(transforms))

    def odometry(xyz, stamp_ns, child):
        pose = t['geometry_msgs/msg/Pose'](
            t['geometry_msgs/msg/Point'](*map(float, xyz)),
            t['geometry_msgs/msg/Quaternion'](0, 0, 0, 1),
        )
        zero = t['geometry_msgs/msg/Vector3'](0, 0, 0)
        return t['nav_msgs/msg/Odometry'](
            header(stamp_ns, 'odom'),
            child,
            t['geometry_msgs/msg/PoseWithCovariance'](pose, np.zeros(36)),
            t['geometry_msgs/msg/TwistWithCovariance'](
                t['geometry_msgs/msg/Twist'](zero, zero), np.zeros(36)
            ),
        )

    return SimpleNamespace(
        image=image,
        compressed=compressed,
        info=info,
        transform=transform,
        tf=tf,
        odometry=odometry,
    )


@pytest.fixture
def folder(frames, tmp_path):
    return write_folder(tmp_path / 'episode', frames)


def recording(make, frames, n=3, period_ns=10**8, depth_late_ns=0):
    """What a camera driver records: colour, depth and camera_info, n times."""
    messages = [('/camera/color/camera_info', START_NS, make.info(frames[0].intrinsics))]
    for i in range(n):
        stamp = START_NS + i * period_ns
        frame = frames[i % len(frames)]
        depth = np.nan_to_num(frame.depth_m * 1000).round().astype(np.uint16)
        late = stamp + depth_late_ns
        messages += [
            ('/camera/color/image_raw', stamp, make.image(frame.rgb, 'rgb8', stamp)),
            ('/camera/depth/image_raw', late, make.image(depth, '16UC1', late)),
        ]
    return messages


@pytest.fixture(name='recording')
def _recording():
    return recording
