"""A sensor's depth in metres, moved to the colour camera where that is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from tosa_ros.errors import RosError
from tosa_ros.frames import NO_DOUBT, DepthDoubt, Intrinsics
from tosa_ros.messages.sensor_depth import SensorReader
from tosa_ros.ros import conversions

std_msgs = pytest.importorskip('std_msgs.msg')

K = Intrinsics(100.0, 100.0, 31.5, 23.5, 64, 48)


def header(frame_id='depth_camera'):
    return std_msgs.Header(frame_id=frame_id)


def test_millimetres_other_units_and_metres():
    raw = np.full((48, 64), 2000, np.uint16)
    raw[0, 0], raw[0, 1] = 0, 65535
    message = conversions.image_message(raw, '16UC1', header())
    depth, frame_id = SensorReader().read(message)
    assert (depth.dtype, frame_id) == (np.float32, 'depth_camera')
    assert np.isnan(depth[0, :2]).all()
    assert depth[1, 1] == 2.0
    assert SensorReader(scale=5000).read(message)[0][1, 1] == pytest.approx(0.4)
    metres = conversions.image_message(np.full((48, 64), 2.5, np.float32), '32FC1', header())
    assert SensorReader(scale=5000).read(metres)[0][1, 1] == 2.5


def test_depth_out_of_range_is_missing():
    pixels = np.array([[0.05, 0.5, 5.0, 50.0, np.nan, np.inf, -np.inf, 0.0]], np.float32)
    message = conversions.image_message(pixels, '32FC1', header())
    depth, _ = SensorReader(min_m=0.1, max_m=20.0).read(message)
    np.testing.assert_array_equal(np.isfinite(depth), [[False, True, True] + [False] * 5])


def test_other_units_are_refused_before_all_of_it_is_too_far():
    reader = SensorReader(min_m=0.1, max_m=20.0)
    millimetres = np.full((48, 64), 2000.0, np.float32)
    with pytest.raises(RosError, match=r'its median is 2000 m, .* in other units'):
        reader.read(conversions.image_message(millimetres, '32FC1', header()))
    for nothing, beyond_m in ((30.0, 30.0), (np.nan, None), (np.inf, None), (0.0, None)):
        pixels = np.full((48, 64), nothing, np.float32)
        depth, _ = reader.read(conversions.image_message(pixels, '32FC1', header()))
        assert np.isnan(depth).all()
        assert reader.beyond_m == beyond_m


def test_a_far_background_is_dropped_and_the_rest_is_depth():
    reader = SensorReader(min_m=0.1, max_m=20.0)
    pixels = np.full((48, 64), 1000.0, np.float32)  # a simulator's far plane
    pixels[40:] = 3.0
    depth, _ = reader.read(conversions.image_message(pixels, '32FC1', header()))
    assert np.isnan(depth[:40]).all()
    assert (depth[40:] == 3).all()


def test_depth_is_moved_to_the_colour_camera():
    shift = np.eye(4)
    shift[0, 3] = 0.2  # the depth camera stands 0.2 m to the right of the colour camera
    reader = SensorReader(depth_to_colour=shift)
    pixels = np.full((48, 64), np.nan, np.float32)
    pixels[20:24, 30:34] = 2.0
    message = conversions.image_message(pixels, '32FC1', header())
    with pytest.raises(RosError, match='no depth_camera_info has arrived yet'):
        reader.read(message)
    reader.camera_info('depth_camera_info', conversions.camera_info_message(K, header()))
    info = conversions.camera_info_message(K.scaled(128, 96), header('colour_camera'))
    reader.camera_info('camera_info', info)
    depth, frame_id = reader.read(message)
    assert (depth.shape, frame_id) == ((96, 128), 'colour_camera')
    rows, cols = np.nonzero(np.isfinite(depth))
    # 0.2 m at 2 m is 10 pixels of the small image, 20 of the large one.
    assert (rows.min(), rows.max()) == (40, 47)
    assert (cols.min(), cols.max()) == (80, 87)
    np.testing.assert_allclose(depth[rows, cols], 2.0)


def test_what_the_driver_has_moved_already_stays_as_it_is():
    asked = []

    def pose(depth_frame, colour_frame):
        asked.append((depth_frame, colour_frame))
        return np.eye(4)

    reader = SensorReader(depth_to_colour=pose)
    for name in ('camera_info', 'depth_camera_info'):
        reader.camera_info(name, conversions.camera_info_message(K, header('colour_camera')))
    pixels = np.random.default_rng(0).uniform(1, 3, (48, 64)).astype(np.float32)
    depth, frame_id = reader.read(
        conversions.image_message(pixels, '32FC1', header('colour_camera'))
    )
    np.testing.assert_array_equal(depth, pixels)
    assert frame_id == 'colour_camera'
    assert asked == [('colour_camera', 'colour_camera')]


def test_a_calibration_of_another_size_is_scaled_and_of_another_view_refused():
    reader = SensorReader(depth_to_colour=np.eye(4))
    pixels = np.full((48, 64), np.nan, np.float32)
    pixels[20:24, 30:34] = 2.0
    message = conversions.image_message(pixels, '32FC1', header())
    reader.camera_info('camera_info', conversions.camera_info_message(K, header()))
    double = conversions.camera_info_message(K.scaled(128, 96), header())
    reader.camera_info('depth_camera_info', double)
    np.testing.assert_array_equal(reader.read(message)[0], pixels)
    wide = Intrinsics(640.0, 640.0, 639.5, 359.5, 1280, 720)
    reader.camera_info('depth_camera_info', conversions.camera_info_message(wide, header()))
    with pytest.raises(RosError, match='is for 1280x720 pixels, but depth has 64x48; remap'):
        reader.read(message)


@pytest.mark.parametrize(('rectified', 'cols'), [(False, (20, 43)), (True, (26, 37))])
def test_depth_is_moved_to_the_rectified_image_by_p(rectified, cols):
    reader = SensorReader(depth_to_colour=np.eye(4), rectified=rectified)
    pixels = np.full((48, 64), np.nan, np.float32)
    pixels[:, 20:44] = 2.0
    for name in ('camera_info', 'depth_camera_info'):
        info = conversions.camera_info_message(K, header())
        # The depth camera's own P never holds: its image is as K has it.
        info.p[0], info.p[5] = 50.0, 50.0
        reader.camera_info(name, info)
    depth, _ = reader.read(conversions.image_message(pixels, '32FC1', header()))
    found = np.nonzero(np.isfinite(depth))[1]
    assert (found.min(), found.max()) == cols


def test_an_uncalibrated_camera_cannot_register():
    reader = SensorReader(depth_to_colour=np.eye(4))
    info = conversions.camera_info_message(K, header())
    info.k = [0.0] * 9
    reader.camera_info('depth_camera_info', info)
    message = conversions.image_message(np.full((48, 64), 2.0, np.float32), '32FC1', header())
    with pytest.raises(RosError, match=r'depth_camera_info: .* not calibrated'):
        reader.read(message)


@pytest.mark.parametrize(
    ('own', 'doubts'),
    [
        (K, NO_DOUBT),
        (K.scaled(32, 24), NO_DOUBT),
        (Intrinsics(80.0, 80.0, 31.5, 23.5, 64, 48), DepthDoubt.ALIGNED),
        (Intrinsics(100.0, 100.0, 35.5, 23.5, 64, 48), DepthDoubt.ALIGNED),
        (Intrinsics(100.0, 100.0, 31.5, 17.5, 64, 36), DepthDoubt.ALIGNED),
    ],
)
def test_a_calibration_that_is_not_colours_makes_alignment_doubtful(own, doubts):
    reader = SensorReader()
    reader.camera_info('camera_info', conversions.camera_info_message(K, header()))
    assert (reader.knows_cameras, reader.doubts('camera')) == (False, NO_DOUBT)
    reader.camera_info('depth_camera_info', conversions.camera_info_message(own, header()))
    assert (reader.knows_cameras, reader.doubts('camera')) == (True, doubts)


@pytest.mark.parametrize(
    ('shift_m', 'frame', 'doubts'),
    [
        (0.0, 'depth_camera', DepthDoubt.PLACE),
        (0.05, 'depth_camera', NO_DOUBT),
        (0.0, 'camera', NO_DOUBT),
    ],
)
def test_registered_without_a_distance_between_two_frames_is_doubtful(shift_m, frame, doubts):
    moved = np.eye(4)
    moved[0, 3] = shift_m
    reader = SensorReader(depth_to_colour=moved)
    for name in ('camera_info', 'depth_camera_info'):
        reader.camera_info(name, conversions.camera_info_message(K, header('camera')))
    assert reader.doubts(frame) == doubts
