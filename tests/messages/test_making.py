"""Messages are made of rosbags' classes and of rclpy's, and read back without loss."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tosa_ros.errors import RosError
from tosa_ros.frames import Intrinsics
from tosa_ros.messages import (
    MessageMaker,
    camera_from_info,
    depth_from_message,
    header_stamp_ns,
    pose_from_message,
    rgb_from_message,
    stamp_ns,
)

rosbags = pytest.importorskip('rosbags.typesys')
STORE = rosbags.get_typestore(rosbags.Stores.ROS2_HUMBLE)
STAMP = 1_700_000_000_123_456_789
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
DEPTH = RNG.integers(0, 9000, (6, 8), dtype=np.uint16)


def of_rosbags():
    return MessageMaker(STORE.types.__getitem__, lambda values: values)


def of_rclpy():
    pytest.importorskip('rclpy')
    from tosa_ros.ros import conversions

    return conversions._MAKER


@pytest.fixture(params=[of_rosbags, of_rclpy])
def maker(request):
    return request.param()


def test_images_cameras_and_poses_are_read_back(maker):
    header = maker.header(STAMP, 'optical')
    assert (stamp_ns(header.stamp), header.frame_id) == (STAMP, 'optical')
    np.testing.assert_array_equal(rgb_from_message(maker.image(RGB, 'rgb8', header)), RGB)
    np.testing.assert_array_equal(rgb_from_message(maker.compressed(RGB, header, 'png')), RGB)
    for message in (maker.image(DEPTH, '16UC1', header), maker.compressed_depth(DEPTH, header)):
        np.testing.assert_array_equal(depth_from_message(message), DEPTH)
    camera = Intrinsics(500.5, 499.5, 3.25, 2.75, 8, 6)
    assert camera_from_info(maker.camera_info(camera, header)).intrinsics == camera
    turned = np.eye(4)
    turned[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    turned[:3, 3] = 1, -2, 3.5
    read = pose_from_message(maker.pose(turned, header))
    np.testing.assert_allclose(read, turned, atol=1e-12)
    with pytest.raises(RosError, match='is not 32FC1'):
        maker.image(RGB, '32FC1', header)


def test_a_stamp_is_read_from_serialised_messages_of_both_byte_orders():
    message = of_rosbags().image(RGB, 'rgb8', of_rosbags().header(STAMP, 'optical'))
    data = STORE.serialize_cdr(message, message.__msgtype__)
    assert header_stamp_ns(data) == header_stamp_ns(bytes(data)) == STAMP
    big = b'\0\0\0\0' + struct.pack('>iI', *divmod(STAMP, 10**9))
    assert header_stamp_ns(big) == STAMP
    sequence = b'\7\0\0\0' + struct.pack('<iI', *divmod(STAMP, 10**9))
    assert header_stamp_ns(sequence, ros1=True) == STAMP
    with pytest.raises(struct.error):
        header_stamp_ns(b'\0\1\0\0')
