"""Messages become frames whatever is wrong with them, and what is wrong is said."""

from __future__ import annotations

import numpy as np
import pytest

from tosa_ros.errors import RosError
from tosa_ros.frames import NO_DOUBT, DepthDoubt, Intrinsics
from tosa_ros.messages.frame_builder import FrameBuilder
from tosa_ros.ros import conversions

std_msgs = pytest.importorskip('std_msgs.msg')

K = Intrinsics(60.0, 60.0, 39.5, 29.5, 80, 60)
RGB = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def header():
    made = std_msgs.Header(frame_id='camera')
    made.stamp.sec = 7
    return made


def image(pixels, encoding):
    return conversions.image_message(pixels, encoding, header())


@pytest.fixture
def faults():
    return {}


@pytest.fixture
def builder(faults):
    made = FrameBuilder(faults.__setitem__)
    made.camera_info(conversions.camera_info_message(K, header()))
    return made


COLOUR = image(RGB, 'rgb8')


@pytest.mark.parametrize(
    ('colour', 'depth', 'doubts'),
    [
        ('camera', 'camera', 0),
        ('/camera', 'camera', 0),
        ('camera', 'depth_camera', DepthDoubt.ALIGNED),
        ('', '', DepthDoubt.ALIGNED),
        ('0', '0', DepthDoubt.ALIGNED),
    ],
)
def test_only_one_named_frame_shows_that_depth_is_aligned(builder, faults, colour, depth, doubts):
    pixels = image(np.full((45, 60), 2.5, np.float32), '32FC1')
    pixels.header.frame_id = depth
    picture = image(RGB, 'rgb8')
    picture.header.frame_id = colour
    frame = builder.frame(picture, pixels)
    assert frame.doubts == doubts
    assert frame.has_metric_points
    assert ('frames' in faults) == bool(doubts)


def test_what_the_depth_node_doubts_is_the_frames(builder):
    depth = image(np.full((60, 80), 2.5, np.float32), '32FC1')
    builder.doubts = DepthDoubt.ESTIMATED
    assert builder.frame(COLOUR, depth).doubts == DepthDoubt.ESTIMATED
    assert builder.frame(COLOUR, None).doubts == 0
    builder.doubts = NO_DOUBT
    assert builder.frame(COLOUR, depth).doubts == 0
    relative = image(np.full((60, 80), 0.5, np.float32), '32FC1')
    assert builder.frame(COLOUR, relative, relative=True).doubts == DepthDoubt.ESTIMATED


def test_a_whole_frame(builder, faults):
    depth = np.full((60, 80), 2.5, np.float32)
    depth[0, :4] = np.nan, np.inf, -np.inf, 0
    frame = builder.frame(COLOUR, image(depth, '32FC1'))
    np.testing.assert_array_equal(frame.rgb, RGB)
    assert frame.intrinsics == K
    assert frame.stamp == 7.0
    assert np.isnan(frame.depth_m[0, :4]).all()
    assert (frame.depth_m[1:] == 2.5).all()
    assert not faults


def test_millimetres_become_metres_once(builder):
    raw = np.full((60, 80), 2500, np.uint16)
    raw[:30] = 65535
    frame = builder.frame(COLOUR, image(raw, '16UC1'))
    assert np.nanmax(frame.depth_m) == pytest.approx(2.5)
    assert np.isnan(frame.depth_m[:30]).all()


def test_depth_in_metres_that_is_as_it_should_be_is_not_copied(builder):
    message = image(np.full((60, 80), 2.5, np.float32), '32FC1')
    frame = builder.frame(COLOUR, message)
    assert np.shares_memory(frame.depth_m, np.frombuffer(message.data, np.uint8))


def test_relative_depth_never_poses_as_metres(builder, faults):
    relative = np.linspace(0, 1, 4800, dtype=np.float32).reshape(60, 80)
    frame = builder.frame(COLOUR, image(relative, '32FC1'), relative=True)
    assert frame.depth_m is None
    np.testing.assert_array_equal(frame.relative_depth, relative)
    metres = builder.frame(COLOUR, image(3 * relative, '32FC1'), relative=True)
    assert metres.relative_depth is None
    assert 'belongs on the topic depth' in faults['depth']


@pytest.mark.parametrize('size', [(30, 40), (120, 160), (15, 20)])
def test_depth_of_another_size_is_fitted_without_blending(builder, faults, size):
    left, right = 1.0, 4.0
    depth = np.full(size, left, np.float32)
    depth[:, size[1] // 2 :] = right
    frame = builder.frame(COLOUR, image(depth, '32FC1'))
    assert (frame.depth_m[:, :40] == left).all()
    assert (frame.depth_m[:, 40:] == right).all()
    assert not faults


@pytest.mark.parametrize(
    ('depth', 'said'),
    [
        (image(np.full((60, 80), np.nan, np.float32), '32FC1'), 'none of its 4800 pixels'),
        (image(np.zeros((60, 80), np.uint16), '16UC1'), 'none of its 4800 pixels'),
        (image(np.full((60, 60), 2.0, np.float32), '32FC1'), '60x60 pixels for a 80x60 image'),
        (image(np.full((60, 80), 2500.0, np.float32), '32FC1'), 'in other units'),
        (image(RGB, 'rgb8'), 'is not depth'),
    ],
)
def test_depth_that_cannot_be_used_is_said_and_left_out(builder, faults, depth, said):
    frame = builder.frame(COLOUR, depth)
    assert frame.depth_m is None
    assert said in faults['depth']
    assert 'by appearance alone' in faults['depth']


def test_without_a_camera_there_is_depth_but_no_metric_points(faults):
    builder = FrameBuilder(faults.__setitem__)
    depth = image(np.full((60, 80), 2.0, np.float32), '32FC1')
    assert not builder.frame(COLOUR, depth).has_metric_points
    assert not faults  # it may come with the next image
    for _ in range(5):
        builder.frame(COLOUR, depth)
    assert 'none has arrived yet' in faults['camera_info']
    zeros = conversions.camera_info_message(K, header())
    zeros.k = [0.0] * 9
    builder.camera_info(zeros)
    assert not builder.frame(COLOUR, depth).has_metric_points
    assert 'not calibrated' in faults['camera_info']


def test_the_camera_is_scaled_to_the_image_or_refused(builder, faults):
    half = image(np.ascontiguousarray(RGB[::2, ::2]), 'rgb8')
    assert builder.frame(half, None).intrinsics == K.scaled(40, 30)
    square = image(np.ascontiguousarray(RGB[:, :60]), 'rgb8')
    assert builder.frame(square, None).intrinsics is None
    assert 'for 80x60 pixels, but the image has 60x60' in faults['camera_info']


def test_colour_that_cannot_be_read_gives_no_frame(builder):
    cut = image(RGB, 'rgb8')
    cut.data = cut.data[:10]
    with pytest.raises(RosError, match='cut off'):
        builder.frame(cut, None)
