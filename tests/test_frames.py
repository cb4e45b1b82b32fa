from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tosa_ros.errors import FrameError, TosaError
from tosa_ros.frames import (
    NO_DOUBT,
    DepthDoubt,
    DepthScaleWarning,
    Frame,
    Intrinsics,
    doubts_in_words,
)

NAN, INF = float('nan'), float('inf')
RGB = np.zeros((3, 4, 3), np.uint8)
CAMERA = Intrinsics(500, 510, 1.5, 1, 4, 3)


def metres(value=2.0, dtype=np.float32):
    return np.full((3, 4), value, dtype)


def test_a_frame_of_colour_alone():
    frame = Frame(RGB)
    assert (frame.width, frame.height) == (4, 3)
    assert not frame.has_metric_points
    assert (frame.depth_m, frame.relative_depth, frame.pose, frame.stamp) == (None,) * 3 + (0,)


def test_metric_points_need_metric_depth_and_a_camera():
    relative = metres(0.5)
    assert Frame(RGB, depth_m=metres(), intrinsics=CAMERA).has_metric_points
    assert not Frame(RGB, depth_m=metres()).has_metric_points
    assert not Frame(RGB, relative_depth=relative, intrinsics=CAMERA).has_metric_points


def test_depth_that_is_not_a_measurement_becomes_nan():
    depth = metres()
    depth[0] = [0, -1, INF, -INF]
    frame = Frame(RGB, depth_m=depth)
    assert np.isnan(frame.depth_m[0]).all()
    assert (frame.depth_m[1:] == 2).all()
    assert depth[0, 1] == -1, "the caller's array is left alone"


def test_one_valid_pixel_is_depth_wherever_it_is():
    depth = np.zeros((480, 640), np.float32)
    depth[477, 333] = 1.5
    kept = Frame(rgb=np.zeros((480, 640, 3), np.uint8), depth_m=depth).depth_m
    assert kept[477, 333] == 1.5
    assert np.isnan(kept).sum() == kept.size - 1


def test_relative_depth_that_is_not_finite_becomes_nan():
    relative = metres(0.25)
    relative[0, :3] = [INF, -INF, NAN]
    frame = Frame(RGB, relative_depth=relative)
    assert np.isnan(frame.relative_depth[0, :3]).all()
    assert (frame.relative_depth[1:] == 0.25).all()


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
def test_depth_is_float32(dtype):
    assert Frame(RGB, depth_m=metres(dtype=dtype)).depth_m.dtype == np.float32
    assert Frame(RGB, relative_depth=metres(0.5, dtype)).relative_depth.dtype == np.float32


def test_float64_beyond_float32_is_missing_without_a_warning():
    depth = metres(dtype=np.float64)
    depth[0, 0] = 1e300
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert np.isnan(Frame(RGB, depth_m=depth).depth_m[0, 0])


def test_arrays_are_read_only():
    frame = Frame(RGB.copy(), depth_m=metres(), pose=np.eye(4))
    for array in (frame.rgb, frame.depth_m, frame.pose):
        with pytest.raises(ValueError, match='read-only'):
            array[0] = 0
    with pytest.raises(FrozenInstanceError):
        frame.stamp = 1.0


def test_frames_are_themselves_alone():
    frame = Frame(RGB)
    assert frame != Frame(RGB)
    assert len({frame, frame, replace(frame)}) == 2


def test_without_depth_keeps_the_rest():
    frame = Frame(RGB, depth_m=metres(), intrinsics=CAMERA, pose=np.eye(4), stamp=2.5)
    bare = frame.without_depth()
    assert bare.depth_m is None
    assert (bare.intrinsics, bare.stamp) == (CAMERA, 2.5)
    np.testing.assert_array_equal(bare.pose, np.eye(4))


@pytest.mark.parametrize('value', [0.04, 101, 1500])
def test_an_odd_median_warns_at_the_callers_line(value):
    with pytest.warns(DepthScaleWarning, match=f'median is {value} m.*scale right') as caught:
        Frame(RGB, depth_m=metres(value))
    assert caught[0].filename == __file__


@pytest.mark.parametrize('value', [0.06, 1, 99])
def test_a_plausible_median_does_not_warn(value):
    depth = metres(value)
    depth[0, 0] = 5000
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        Frame(RGB, depth_m=depth)


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'rgb': np.zeros((3, 4), np.uint8)}, r'rgb: shape \(3, 4\), dtype uint8; wanted'),
        ({'rgb': np.zeros((3, 4, 4), np.uint8)}, r'rgb: shape \(3, 4, 4\)'),
        ({'rgb': np.zeros((3, 4, 3), np.float32)}, r'dtype float32; wanted .* uint8'),
        ({'rgb': np.zeros((0, 4, 3), np.uint8)}, r'not empty'),
        ({'rgb': None}, r'rgb: shape'),
        ({'depth_m': metres(), 'relative_depth': metres(0.5)}, r'not both'),
        ({'depth_m': metres(0)}, r'none of its 12 pixels is valid'),
        ({'depth_m': metres(NAN)}, r'none of its 12 pixels is valid'),
        ({'depth_m': metres(dtype=np.uint16)}, r'dtype uint16; wanted.*SensorDepth'),
        ({'depth_m': metres()[..., None]}, r'depth_m: shape \(3, 4, 1\)'),
        ({'depth_m': metres().T}, r'3x4 pixels, but the colour image has 4x3.*register_depth'),
        ({'relative_depth': metres(NAN)}, r'relative_depth: none of its 12 pixels'),
        ({'relative_depth': metres(1.5)}, r'from 1\.5 to 1\.5; wanted 0\.\.1'),
        ({'relative_depth': metres(-0.1)}, r'from -0\.1'),
        ({'intrinsics': CAMERA.scaled(8, 6)}, r'made for 8x6.*scaled\(4, 3\)'),
        ({'pose': np.eye(3)}, r'pose: shape \(3, 3\); wanted a finite 4x4'),
        ({'pose': np.full((4, 4), -INF)}, r'pose: .*finite'),
        ({'pose': 'identity'}, r'pose: not a matrix of numbers'),
        ({'pose': [[1, 0], [1]]}, r'pose: not a matrix of numbers'),
    ],
)
def test_faults_are_one_line(fields, message):
    with pytest.raises(FrameError, match=message) as error:
        Frame(**{'rgb': RGB, **fields})
    assert isinstance(error.value, TosaError)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('name', ['fx', 'fy'])
@pytest.mark.parametrize('value', [0, -1, NAN, INF, None, '500'])
def test_a_focal_length_is_a_positive_number(name, value):
    with pytest.raises(FrameError, match=f'{name} is {value}; a focal length'):
        replace(CAMERA, **{name: value})


@pytest.mark.parametrize('value', [NAN, INF, None])
def test_a_principal_point_is_a_number(value):
    with pytest.raises(FrameError, match=f'cy is {value}; wanted a number'):
        replace(CAMERA, cy=value)


@pytest.mark.parametrize('value', [0, -3, 2.5, NAN, None])
def test_an_image_has_whole_pixels(value):
    with pytest.raises(FrameError, match=f'image size is {value}x3; wanted whole numbers'):
        replace(CAMERA, width=value)


def test_camera_matrix():
    np.testing.assert_array_equal(CAMERA.matrix(), [[500, 0, 1.5], [0, 510, 1], [0, 0, 1]])


@given(
    u=st.floats(-0.5, 639.5), v=st.floats(-0.5, 479.5), x=st.integers(1, 3000),
    y=st.integers(1, 3000),
)  # fmt: skip
def test_a_scaled_camera_sees_the_same_rays(u, v, x, y):
    camera = Intrinsics(525, 520, 310.25, 250.5, 640, 480)
    scaled = camera.scaled(x, y)
    # Pixel edges, not centres, keep their places when an image is resized.
    su, sv = (u + 0.5) * x / 640 - 0.5, (v + 0.5) * y / 480 - 0.5
    assert (su - scaled.cx) / scaled.fx == pytest.approx((u - camera.cx) / camera.fx, abs=1e-9)
    assert (sv - scaled.cy) / scaled.fy == pytest.approx((v - camera.cy) / camera.fy, abs=1e-9)
    assert (scaled.width, scaled.height) == (x, y)


def test_frames_cost_numpy_alone():
    code = (
        'import sys, tosa_ros.frames; '
        'print({"torch", "transformers", "PIL", "open3d", "rclpy"} & set(sys.modules) or "free")'
    )
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.stdout.strip() == 'free', result.stderr


@pytest.mark.parametrize(
    ('metres', 'doubts'),
    [(0.2, DepthDoubt.SCALE), (0.3, 0), (2.0, 0), (7.9, 0), (8.1, DepthDoubt.SCALE)],
)
def test_a_median_that_is_unusual_in_a_room_is_a_doubt(metres, doubts):
    rgb = np.zeros((4, 4, 3), np.uint8)
    frame = Frame(rgb, depth_m=np.full((4, 4), metres, np.float32))
    assert frame.doubts == doubts
    again = replace(frame, depth_m=np.full((4, 4), 2, np.float32))
    assert again.doubts == NO_DOUBT


def test_doubts_are_of_the_depth_and_go_with_it():
    rgb, depth = np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 2, np.float32)
    doubtful = Frame(rgb, depth_m=depth, doubts=DepthDoubt.ALIGNED | DepthDoubt.PLACE)
    assert doubtful.without_depth().doubts == NO_DOUBT
    assert doubts_in_words([doubtful, Frame(rgb)]) == [
        'depth is taken as aligned to colour, which nothing shows',
        'depth is registered as if its camera were where the colour camera is',
    ]
    assert doubts_in_words([Frame(rgb, depth_m=depth)]) == []


def world_points(frame):
    """Each pixel's colour with its point in the world, in the order of the colours."""
    v, u = np.mgrid[: frame.height, : frame.width]
    z, k = frame.depth_m.astype(np.float64), frame.intrinsics
    points = np.stack([(u - k.cx) / k.fx * z, (v - k.cy) / k.fy * z, z, np.ones_like(z)], -1)
    colours = frame.rgb.reshape(-1, 3)[:, 0]
    return (points.reshape(-1, 4) @ frame.pose.T)[np.argsort(colours)]


@pytest.mark.parametrize('degrees', [0, 90, 180, 270, 360, -90, 450])
def test_points_stay_in_the_world_when_a_frame_is_turned(degrees):
    rng = np.random.default_rng(1)
    pose = np.eye(4)
    pose[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    pose[:3, 3] = 1, 2, 3
    rgb = np.repeat(np.arange(12, dtype=np.uint8).reshape(3, 4, 1), 3, axis=2)
    frame = Frame(rgb, depth_m=rng.uniform(1, 3, (3, 4)), intrinsics=CAMERA, pose=pose, stamp=5.0)
    turned = frame.turned(degrees)
    assert turned.rgb.tolist() == np.rot90(rgb, -(degrees // 90)).tolist()
    np.testing.assert_allclose(world_points(turned), world_points(frame), atol=1e-6)
    assert turned.stamp == 5
    np.testing.assert_allclose(turned.turned(-degrees).pose, pose)
    assert turned.turned(-degrees).intrinsics == CAMERA


def test_a_turn_of_90_degrees_is_clockwise():
    turned = Frame(
        np.array([[[1] * 3, [2] * 3]], np.uint8), intrinsics=Intrinsics(9, 8, 1, 0, 2, 1)
    )
    assert turned.turned(90).rgb[..., 0].tolist() == [[1], [2]]
    assert turned.turned(180).rgb[..., 0].tolist() == [[2, 1]]
    assert turned.turned(270).rgb[..., 0].tolist() == [[2], [1]]
    assert turned.turned(90).intrinsics == Intrinsics(8, 9, 0, 1, 1, 2)
    relative = Frame(RGB, relative_depth=metres(0.5)).turned(90)
    assert relative.relative_depth.shape == (4, 3)
    assert (relative.intrinsics, relative.pose) == (None, None)
    with pytest.raises(FrameError, match='turn: 45 degrees; wanted a multiple of 90'):
        turned.turned(45)
