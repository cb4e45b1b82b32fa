from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tosa_ros.depth import SensorDepth
from tosa_ros.errors import DepthError
from tosa_ros.frames import DepthScaleWarning, Frame

NAN = float('nan')


def save(path, array):
    Image.fromarray(array).save(path)
    return path


@pytest.mark.parametrize(('scale', 'raw', 'metres'), [(1000, 1500, 1.5), (5000, 7505, 1.501)])
def test_metres_are_raw_by_scale_and_zero_is_missing(scale, raw, metres):
    depth = SensorDepth(scale=scale).from_array(np.array([[raw, 0]], np.uint16))
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, [[metres, NAN]], rtol=1e-6)


@pytest.mark.parametrize('dtype', ['uint16', '>u2', 'int16', 'int32', 'uint32', 'int64'])
def test_integer_types(dtype):
    depth = SensorDepth(scale=1000).from_array(np.array([[2000, 0, 1]], dtype))
    np.testing.assert_allclose(depth, [[2, NAN, 0.001]], rtol=1e-6)


@pytest.mark.parametrize(
    ('dtype', 'largest'), [('uint16', 65535), ('>u2', 65535), ('int16', 32767)]
)
def test_the_largest_value_of_16_bits_is_missing(dtype, largest):
    depth = SensorDepth(scale=1000).from_array(np.array([[largest, largest - 1, 1500]], dtype))
    np.testing.assert_allclose(depth, [[NAN, (largest - 1) / 1000, 1.5]], rtol=1e-6)


def test_more_bits_have_no_value_for_missing_depth():
    assert SensorDepth(scale=1000).from_array(np.array([[65535]], np.int32))[0, 0] == 65.535


def test_negative_raw_values_are_missing():
    assert np.isnan(SensorDepth(scale=1000).from_array(np.array([[-5]], np.int16))).all()


@pytest.mark.parametrize('dtype', [np.uint8, np.int8, bool])
def test_eight_bits_are_refused(dtype):
    with pytest.raises(DepthError, match=rf'{np.dtype(dtype)} is a picture.*wanted uint16'):
        SensorDepth(scale=1000).from_array(np.ones((2, 2), dtype))


def test_float_metres_are_not_divided_again():
    with pytest.raises(DepthError, match=r'float32 holds metres already.*from_metric'):
        SensorDepth(scale=1000).from_array(np.ones((2, 2), np.float32))


def test_more_than_one_channel_is_refused():
    with pytest.raises(DepthError, match=r'shape \(2, 2, 3\); wanted one channel'):
        SensorDepth(scale=1000).from_array(np.ones((2, 2, 3), np.uint16))


@pytest.mark.parametrize('scale', [0, -1000, NAN, float('inf')])
def test_scale_must_be_a_positive_number(scale):
    with pytest.raises(DepthError, match=f'depth scale: {scale}'):
        SensorDepth(scale=scale)


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
def test_float_metres_follow_rep_117(dtype):
    values = np.array([[1.5, 0, -1, NAN, np.inf, -np.inf, -0.0]], dtype)
    depth = SensorDepth.from_metric(values)
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, [[1.5] + 6 * [NAN]])


def test_float_metres_that_float32_cannot_hold_are_missing():
    assert np.isnan(SensorDepth.from_metric(np.array([[1e300]]))).all()


def test_raw_values_are_not_taken_for_metres():
    with pytest.raises(DepthError, match=r'uint16; wanted.*SensorDepth'):
        SensorDepth.from_metric(np.ones((2, 2), np.uint16))


def test_from_metric_leaves_its_input_alone():
    values = np.array([[0, 1]], np.float32)
    SensorDepth.from_metric(values)
    assert values.tolist() == [[0, 1]]


def test_png_round_trip(tmp_path):
    raw = np.random.default_rng(0).integers(0, 65535, (7, 9), dtype=np.uint16)
    raw[0, :2] = 0, 65535
    depth = SensorDepth(scale=1000).read_png(save(tmp_path / 'd.png', raw))
    missing = (raw == 0) | (raw == 65535)
    np.testing.assert_allclose(depth, np.where(missing, NAN, raw / 1000), rtol=1e-6)


@pytest.mark.parametrize(
    ('array', 'mode'),
    [
        (np.ones((4, 4), np.uint8), 'L'),
        (np.ones((4, 4, 3), np.uint8), 'RGB'),
        (np.ones((4, 4, 4), np.uint8), 'RGBA'),
        (np.ones((4, 4), bool), '1'),
    ],
)
def test_a_png_that_is_not_a_measurement_is_refused(tmp_path, array, mode):
    with pytest.raises(DepthError, match=f'd.png: not metric depth, but a PNG of mode {mode};'):
        SensorDepth(scale=1000).read_png(save(tmp_path / 'd.png', array))


def png_bytes():
    stream = io.BytesIO()
    raw = np.random.default_rng(1).integers(0, 65536, (60, 60), dtype=np.uint16)
    Image.fromarray(raw).save(stream, 'PNG')
    return stream.getvalue()


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'', 'not a PNG image'),
        (b'hello', 'not a PNG image'),
        (png_bytes()[:3000], 'cannot be read as a PNG image'),
        (png_bytes()[:40], 'not a PNG image'),
        (None, 'No such file'),
    ],
    ids=['empty', 'text', 'cut', 'cut early', 'missing'],
)
def test_unreadable_files_are_named_in_one_line(tmp_path, content, reason):
    path = tmp_path / 'depth.png'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DepthError, match=reason) as error:
        SensorDepth(scale=1000).read_png(path)
    assert str(error.value).count('depth.png') == 1
    assert '\n' not in str(error.value)


def test_a_jpeg_is_not_depth(tmp_path):
    Image.fromarray(np.ones((8, 8), np.uint8)).save(tmp_path / 'd.png', 'JPEG')
    with pytest.raises(DepthError, match='not a PNG image'):
        SensorDepth(scale=1000).read_png(tmp_path / 'd.png')


def test_a_wrong_scale_warns_where_the_frame_is_made():
    depth = SensorDepth(scale=1).from_array(np.full((4, 4), 1500, np.uint16))
    with pytest.warns(DepthScaleWarning, match='1500 m'):
        Frame(np.zeros((4, 4, 3), np.uint8), depth_m=depth)


def test_sensor_depth_costs_neither_torch_nor_transformers():
    code = (
        'import sys; from tosa_ros.depth import SensorDepth, register_depth; '
        'print({"torch", "transformers"} & set(sys.modules) or "free")'
    )
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.stdout.strip() == 'free', result.stderr


def test_kinds():
    assert SensorDepth.kind == SensorDepth(scale=1000).kind == 'metric'


def test_metres_become_what_the_sensor_wrote():
    sensor = SensorDepth(scale=1000)
    raw = np.random.default_rng(2).integers(0, 65535, (7, 9), dtype=np.uint16)
    written = sensor.to_array(sensor.from_array(raw))
    assert written.dtype == np.uint16
    np.testing.assert_array_equal(written, raw)
    nowhere = np.array([[np.nan, np.inf, -np.inf, 0, -1]], np.float32)
    assert (sensor.to_array(nowhere) == 0).all()
    assert sensor.to_array(np.full((1, 1), 1e-6, np.float32)) == 1


def test_depth_beyond_16_bits_is_refused_or_dropped():
    far = np.array([[1.0, 65.534, 65.535]])
    with pytest.raises(DepthError, match=r'65\.53 m does not fit into 16 bits at 1000 units'):
        SensorDepth(scale=1000).to_array(far)
    dropped = SensorDepth(scale=1000).to_array(far, drop_far=True)
    assert dropped.tolist() == [[1000, 65534, 0]]
