"""Conversion of messages, on real sensor_msgs and on the dataclasses of rosbags."""

from __future__ import annotations

import io
import struct
from array import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage

from tosa_ros import messages
from tosa_ros.errors import RosError
from tosa_ros.frames import Intrinsics
from tosa_ros.messages.raw import ENCODINGS
from tosa_ros.ros import conversions

sensor_msgs = pytest.importorskip('sensor_msgs.msg')
std_msgs = pytest.importorskip('std_msgs.msg')
geometry_msgs = pytest.importorskip('geometry_msgs.msg')

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
DEPTH_MM = RNG.integers(0, 9000, (6, 8), dtype=np.uint16)


def image(pixels, encoding, step_padding=0, big_endian=False):
    """An Image as a driver may send it: rows padded with garbage, words in either order."""
    height, width = pixels.shape[:2]
    pixels = pixels.astype(pixels.dtype.newbyteorder('>' if big_endian else '<'))
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(height, -1)
    rows = np.hstack([rows, np.full((height, step_padding), 0xAB, np.uint8)])
    message = sensor_msgs.Image(height=height, width=width, encoding=encoding)
    message.is_bigendian = int(big_endian)
    message.step = rows.shape[1]
    message.data = array('B', rows.tobytes())
    return message


def camera_info(**fields):
    message = conversions.camera_info_message(
        Intrinsics(500.0, 510.0, 319.5, 239.5, 640, 480), std_msgs.Header()
    )
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize(
    ('encoding', 'encode'),
    [
        ('rgb8', lambda rgb: rgb),
        ('bgr8', lambda rgb: rgb[..., ::-1]),
        ('8UC3', lambda rgb: rgb[..., ::-1]),
        ('rgba8', lambda rgb: np.dstack([rgb, rgb[..., 0]])),
        ('bgra8', lambda rgb: np.dstack([rgb[..., ::-1], rgb[..., 0]])),
        ('rgb16', lambda rgb: rgb.astype(np.uint16) << 8),
        ('bgr16', lambda rgb: rgb[..., ::-1].astype(np.uint16) << 8),
    ],
)
def test_every_colour_encoding_gives_the_same_rgb(encoding, encode, padding):
    decoded = messages.rgb_from_message(image(encode(RGB), encoding, padding))
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, RGB)


def test_grey_becomes_three_equal_channels():
    decoded = messages.rgb_from_message(image(RGB[..., 0], 'mono8', 3))
    np.testing.assert_array_equal(decoded, np.repeat(RGB[..., :1], 3, axis=2))


@pytest.mark.parametrize('big_endian', [False, True])
@pytest.mark.parametrize('padding', [0, 7])
def test_depth_is_given_as_the_sensor_wrote_it(big_endian, padding):
    raw = messages.depth_from_message(image(DEPTH_MM, '16UC1', padding, big_endian))
    assert raw.dtype == np.uint16
    np.testing.assert_array_equal(raw, DEPTH_MM)
    metres = (DEPTH_MM / 1000).astype(np.float32)
    metres[0, :3] = np.nan, np.inf, -np.inf
    decoded = messages.depth_from_message(image(metres, '32FC1', padding, big_endian))
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded, metres)


def test_the_last_row_need_not_be_padded():
    message = image(RGB, 'rgb8', 5)
    message.data = message.data[:-5]
    np.testing.assert_array_equal(messages.rgb_from_message(message), RGB)


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'data': array('B')}, '0 bytes of data, but 8x6 rgb8 with step 24 needs 144'),
        ({'data': array('B', bytes(100))}, 'cut off'),
        ({'width': 0}, 'size is 0x6'),
        ({'height': 0}, 'size is 8x0'),
        ({'height': 2**32 - 1, 'width': 2**32 - 1, 'step': 2**32 - 1}, 'step is 4294967295 bytes'),
        ({'step': 23}, 'a row of 8 rgb8 pixels has 24'),
        ({'encoding': 'bayer_xxxx8'}, 'bayer_ with rggb'),
        ({'encoding': ''}, "encoding '' is not supported"),
        ({'encoding': 'x' * 1_000_000}, 'x...'),
        ({'encoding': '16UC1', 'step': 24}, 'depth, not colour'),
    ],
)
def test_a_bad_colour_image_is_refused_in_one_line(change, said):
    message = image(RGB, 'rgb8')
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(RosError) as refused:
        messages.rgb_from_message(message)
    assert said in str(refused.value)
    assert '\n' not in str(refused.value)
    assert len(str(refused.value)) < 400


@given(
    st.binary(max_size=80),
    st.integers(0, 6),
    st.integers(0, 6),
    st.integers(0, 30),
    st.sampled_from(sorted(ENCODINGS)),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_any_header_and_bytes_give_pixels_or_one_error(data, width, height, step, encoding, big):
    message = sensor_msgs.Image(height=height, width=width, encoding=encoding, step=step)
    message.is_bigendian = int(big)
    message.data = array('B', data)
    for read in (messages.rgb_from_message, messages.depth_from_message):
        try:
            assert read(message).shape[:2] == (height, width)
        except RosError as error:
            refusal = str(error)
            assert '\n' not in refusal


def test_colour_is_not_taken_for_depth():
    with pytest.raises(RosError, match=r'rgb8.* is not depth'):
        messages.depth_from_message(image(RGB, 'rgb8'))


@pytest.mark.parametrize('stated', ['png', 'rgb8; png compressed bgr8'])
def test_compressed_images_are_decoded(stated):
    message = conversions.compressed_image_message(RGB, std_msgs.Header(), 'png')
    message.format = stated
    np.testing.assert_array_equal(messages.rgb_from_message(message), RGB)


def test_compressed_16_bit_grey_is_seen_as_raw_mono16_is():
    grey = np.array([[0, 255, 256], [30_000, 65_000, 65_535]], np.uint16)
    stream = io.BytesIO()
    PilImage.fromarray(grey).save(stream, 'PNG')
    message = sensor_msgs.CompressedImage(format='mono16; png compressed')
    message.data = array('B', stream.getvalue())
    seen = messages.rgb_from_message(message)
    assert seen.dtype == np.uint8
    np.testing.assert_array_equal(seen, messages.rgb_from_message(image(grey, 'mono16')))


def test_jpeg_is_close_and_stated_rgb_order_is_honoured():
    flat = np.full((16, 16, 3), (200, 30, 60), np.uint8)
    message = conversions.compressed_image_message(flat, std_msgs.Header())
    assert np.abs(messages.rgb_from_message(message).astype(int) - flat).max() <= 4
    message.format = 'rgb8; jpeg compressed rgb8'
    swapped = messages.rgb_from_message(message)
    assert np.abs(swapped.astype(int) - flat[..., ::-1]).max() <= 4


@pytest.mark.parametrize('cut', [0, 1, 10, 60])
def test_a_truncated_jpeg_is_refused_in_one_line(cut):
    message = conversions.compressed_image_message(RGB, std_msgs.Header())
    message.data = message.data[:cut]
    with pytest.raises(RosError, match=r"format 'jpeg': .* a JPEG or PNG image") as refused:
        messages.rgb_from_message(message)
    assert '\n' not in str(refused.value)


def compressed_depth(raw, stated, quantisation=(0.0, 0.0)):
    stream = io.BytesIO()
    PilImage.fromarray(raw).save(stream, 'PNG')
    message = sensor_msgs.CompressedImage(format=stated)
    message.data = array('B', struct.pack('<iff', 0, *quantisation) + stream.getvalue())
    return message


def test_compressed_depth_in_millimetres():
    decoded = messages.depth_from_message(compressed_depth(DEPTH_MM, '16UC1; compressedDepth png'))
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, DEPTH_MM)


def test_compressed_depth_in_metres_undoes_the_quantisation():
    metres = RNG.uniform(0.5, 9.0, (6, 8))
    quantum, farthest = 100.0, 10.0
    a = quantum * (quantum + 1)
    b = 1 - a / farthest
    raw = np.rint(a / metres + b).astype(np.uint16)
    raw[0, 0] = 0
    decoded = messages.depth_from_message(compressed_depth(raw, '32FC1; compressedDepth', (a, b)))
    assert decoded.dtype == np.float32
    assert np.isnan(decoded[0, 0])
    np.testing.assert_allclose(decoded[1:], metres[1:], rtol=0.01)


@pytest.mark.parametrize(
    ('message', 'said'),
    [
        (sensor_msgs.CompressedImage(format='jpeg'), 'is not depth'),
        (sensor_msgs.CompressedImage(format='16UC1; compressedDepth'), '0 bytes'),
        (sensor_msgs.CompressedImage(format='16UC1; compressedDepth rvl'), 'RVL'),
        (compressed_depth(DEPTH_MM, '32FC1; compressedDepth', (float('nan'), 1)), 'quantisation'),
        (compressed_depth(RGB, '16UC1; compressedDepth'), 'wanted 16-bit grey'),
    ],
)
def test_bad_compressed_depth_is_refused(message, said):
    with pytest.raises(RosError, match=said):
        messages.depth_from_message(message)


def test_camera_info_gives_k_or_p():
    message = camera_info(p=[400.0, 0, 310, 0, 0, 410, 230, 0, 0, 0, 1, 0], d=[0.1, 0, 0, 0, 0])
    raw = messages.camera_from_info(message)
    assert raw.intrinsics == Intrinsics(500.0, 510.0, 319.5, 239.5, 640, 480)
    assert 'distortion' in raw.note
    rectified = messages.camera_from_info(message, rectified=True)
    assert rectified == (Intrinsics(400.0, 410.0, 310.0, 230.0, 640, 480), '')


def test_roi_and_binning_are_applied_to_the_full_sensor():
    roi = sensor_msgs.RegionOfInterest(x_offset=40, y_offset=80, width=400, height=320)
    cropped = messages.camera_from_info(camera_info(roi=roi)).intrinsics
    assert cropped == Intrinsics(500.0, 510.0, 279.5, 159.5, 400, 320)
    binned = messages.camera_from_info(camera_info(roi=roi, binning_x=2, binning_y=4))
    assert (binned.intrinsics.width, binned.intrinsics.height) == (200, 80)
    # A pixel of the binned image looks where the middle of its 2x4 sensor pixels looks.
    k = binned.intrinsics
    assert (10 - k.cx) / k.fx == pytest.approx((20.5 - cropped.cx) / cropped.fx)
    assert (7 - k.cy) / k.fy == pytest.approx((29.5 - cropped.cy) / cropped.fy)


@pytest.mark.parametrize(
    ('fields', 'said'),
    [
        ({'k': [0.0] * 9}, 'not calibrated'),
        ({'k': [float('nan')] * 9}, 'not calibrated'),
        ({'width': 0}, 'size is 0x480'),
    ],
)
def test_an_uncalibrated_camera_gives_a_reason(fields, said):
    camera = messages.camera_from_info(camera_info(**fields))
    assert camera.intrinsics is None
    assert said in camera.note


def test_poses_and_transforms_give_the_same_matrix():
    half = np.sqrt(0.5)  # a quarter turn about z
    turn = geometry_msgs.Quaternion(x=0.0, y=0.0, z=2 * half, w=2 * half)
    pose = geometry_msgs.PoseStamped()
    pose.pose.position = geometry_msgs.Point(x=1.0, y=2.0, z=3.0)
    pose.pose.orientation = turn
    transform = geometry_msgs.TransformStamped()
    transform.transform.translation = geometry_msgs.Vector3(x=1.0, y=2.0, z=3.0)
    transform.transform.rotation = turn
    wanted = np.array([[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]], np.float64)
    for message in (pose, pose.pose, transform, transform.transform):
        np.testing.assert_allclose(messages.pose_from_message(message), wanted, atol=1e-12)


def test_a_pose_without_rotation_is_refused():
    transform = geometry_msgs.Transform()
    transform.rotation = geometry_msgs.Quaternion(x=0.0, y=0.0, z=0.0, w=0.0)
    with pytest.raises(RosError, match='quaternion of length 1'):
        messages.pose_from_message(transform)
    with pytest.raises(RosError, match='String holds neither'):
        messages.pose_from_message(std_msgs.String())


@given(st.integers(0, 2**31 - 1), st.integers(0, 999_999_999))
def test_stamps_survive_to_the_microsecond(sec, nanosec):
    message = conversions.stamp_message(0.0)
    message.sec, message.nanosec = sec, nanosec
    back = conversions.stamp_message(messages.stamp_s(message))
    assert abs(messages.stamp_ns(back) - messages.stamp_ns(message)) < 1000


def test_images_of_a_bag_are_read_without_ros(tmp_path):
    rosbags = pytest.importorskip('rosbags.typesys')
    store = rosbags.get_typestore(rosbags.Stores.ROS2_HUMBLE)
    time = store.types['builtin_interfaces/msg/Time'](sec=3, nanosec=500_000_000)
    header = store.types['std_msgs/msg/Header'](stamp=time, frame_id='camera')
    message = store.types['sensor_msgs/msg/Image'](
        header=header,
        height=6,
        width=8,
        encoding='16UC1',
        is_bigendian=0,
        step=16,
        data=DEPTH_MM.view(np.uint8).reshape(-1),
    )
    np.testing.assert_array_equal(messages.depth_from_message(message), DEPTH_MM)
    assert messages.stamp_s(message.header.stamp) == 3.5


def test_images_are_built_and_read_back():
    header = std_msgs.Header(frame_id='camera')
    message = conversions.image_message(DEPTH_MM[:, ::2], '16UC1', header)
    assert (message.width, message.height, message.step) == (4, 6, 8)
    assert message.header.frame_id == 'camera'
    np.testing.assert_array_equal(messages.depth_from_message(message), DEPTH_MM[:, ::2])
    with pytest.raises(RosError, match='is not 32FC1'):
        conversions.image_message(DEPTH_MM, '32FC1', header)
