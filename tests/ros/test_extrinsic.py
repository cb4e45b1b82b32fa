"""The depth camera's place in the colour camera's frame, as /tf_static has it."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tosa_ros import messages
from tosa_ros.errors import RosError
from tosa_ros.frames import Intrinsics
from tosa_ros.ros.extrinsic import NotYetError, StaticExtrinsic

COLOUR, DEPTH = 'camera_color_optical_frame', 'camera_depth_optical_frame'
# As realsense2_camera publishes them: both optical frames below camera_link, turned.
TURNED = (-0.5, 0.5, -0.5, 0.5)
LINKS = [
    ('camera_link', 'camera_depth_frame', (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)),
    ('camera_depth_frame', DEPTH, (0.0, 0.0, 0.0), TURNED),
    ('camera_link', 'camera_color_frame', (0.0, 0.015, 0.001), (0.0, 0.0, 0.0, 1.0)),
    ('camera_color_frame', COLOUR, (0.0, 0.0, 0.0), TURNED),
]


def link(parent, child, place, turn):
    xyz, q = dict(zip('xyz', place, strict=True)), dict(zip('xyzw', turn, strict=True))
    return SimpleNamespace(
        header=SimpleNamespace(frame_id=parent, stamp=SimpleNamespace(sec=0, nanosec=0)),
        child_frame_id=child,
        transform=SimpleNamespace(
            translation=SimpleNamespace(**xyz), rotation=SimpleNamespace(**q)
        ),
    )


def tf(*links):
    return SimpleNamespace(transforms=[link(*one) for one in links])


def test_it_is_found_through_the_camera_s_tree():
    found = StaticExtrinsic(5.0, lambda: 0.0)
    with pytest.raises(NotYetError):
        found(DEPTH, COLOUR)
    found.add(tf(*LINKS[:2]))
    with pytest.raises(NotYetError):
        found(DEPTH, COLOUR)
    found.add(tf(*LINKS[2:]))
    pose = found(DEPTH, COLOUR)
    # The left of colour is y of camera_link, and -x of an optical frame.
    np.testing.assert_allclose(pose[:3, 3], [0.015, 0.001, 0.0], atol=1e-9)
    np.testing.assert_allclose(pose[:3, :3], np.eye(3), atol=1e-9)


def test_one_frame_is_where_it_is():
    np.testing.assert_array_equal(StaticExtrinsic(5.0, lambda: 0.0)(DEPTH, DEPTH), np.eye(4))


def test_after_the_time_limit_it_says_what_is_missing_and_goes_on():
    now = [100.0]
    found = StaticExtrinsic(5.0, lambda: now[0])
    for now[0] in (200.0, 204.9):
        with pytest.raises(NotYetError):
            found(DEPTH, COLOUR)
    now[0] = 205.1
    with pytest.raises(RosError, match=f'no transform from {DEPTH!r} to {COLOUR!r} on /tf_static'):
        found(DEPTH, COLOUR)
    found.add(tf(*LINKS))
    assert found(DEPTH, COLOUR).shape == (4, 4)


@pytest.fixture
def depth_node(bench, node_here):
    pytest.importorskip('rclpy')
    from tosa_ros.ros.depth_node import DepthNode

    return lambda **parameters: node_here(DepthNode, register=True, **parameters)


def test_without_tf2_msgs_the_node_says_what_to_do(bench, depth_node, monkeypatch):
    for name in ('tf2_msgs', 'tf2_msgs.msg'):
        monkeypatch.setitem(sys.modules, name, None)
    depth_node()
    bench.wait(lambda: 'set extrinsic' in bench.health().get('depth_node', (0, ''))[1])
    assert bench.state('depth_node') == 'unconfigured'


def test_the_node_looks_it_up(bench, depth_node, tf2_msgs):
    from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
    from std_msgs.msg import Header

    from tosa_ros.ros.conversions import camera_info_message, image_message
    from tosa_ros.ros.topics import qos_profile

    camera = Intrinsics(120.0, 120.0, 79.5, 59.5, 160, 120)
    raw = np.full((120, 160), 2000, np.uint16)

    def pump():
        for name, frame in (('camera_info', COLOUR), ('depth_camera_info', DEPTH)):
            header = bench.header()
            header.frame_id = frame
            bench.publisher(name).publish(camera_info_message(camera, header))
        bench.publisher('sensor_depth').publish(image_message(raw, '16UC1', header))

    depth_node(extrinsic_timeout_s=0.5)
    bench.listen('depth')
    bench.wait(
        lambda: 'on /tf_static within 0.5 s' in bench.health().get('depth_node', (0, ''))[1], pump
    )
    publisher = bench.node.create_publisher(tf2_msgs.TFMessage, '/tf_static', qos_profile('kept'))
    made = [
        TransformStamped(
            header=Header(frame_id=parent),
            child_frame_id=child,
            transform=Transform(
                translation=Vector3(**dict(zip('xyz', place, strict=True))),
                rotation=Quaternion(**dict(zip('xyzw', turn, strict=True))),
            ),
        )
        for parent, child, place, turn in LINKS
    ]
    publisher.publish(tf2_msgs.TFMessage(transforms=made))
    message = bench.next('depth', pump)
    assert message.header.frame_id == COLOUR
    depth = messages.depth_from_message(message)
    assert np.nanmedian(depth) == 2.0
    bench.node.destroy_publisher(publisher)
