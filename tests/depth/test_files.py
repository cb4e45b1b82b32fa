"""Depth files of every format: whole numbers in the given unit, floats in metres."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tosa_ros.depth import read_depth
from tosa_ros.depth.fitting import fitted
from tosa_ros.errors import DepthError, MissingDependencyError

RAW = np.array([[0, 1500, 2000], [500, 40000, 1]], np.uint16)
METRES = np.array([[np.nan, 1.5, 2], [0.5, 40, 0.001]], np.float32)


def pgm(path, raw, most):
    height, width = raw.shape
    header = f'P5\n# a comment\n{width} {height}\n{most}\n'.encode()
    path.write_bytes(header + raw.astype('>u2').tobytes())


def write(path, array):
    kind = path.suffix.lower()
    if kind == '.npy':
        np.save(path, array)
    elif kind == '.exr':
        OpenEXR = pytest.importorskip('OpenEXR')
        OpenEXR.File({}, {'Z': np.ascontiguousarray(array)}).write(str(path))
    elif kind == '.pgm':
        pgm(path, array, 50000)
    else:
        Image.fromarray(array).save(path, {'.png': 'PNG'}.get(kind, 'TIFF'))
    return path


@pytest.mark.parametrize('name', ['d.png', 'D.PNG', 'd.pgm', 'd.tif', 'd.TIFF', 'd.npy'])
def test_whole_numbers_are_in_the_given_unit(tmp_path, name):
    path = write(tmp_path / name, RAW)
    np.testing.assert_allclose(read_depth(path, 1000), METRES)
    np.testing.assert_allclose(read_depth(path, 5000), METRES / 5, rtol=1e-6)
    with pytest.raises(DepthError, match='its depth scale is missing; wanted the units per metre'):
        read_depth(path, None)


@pytest.mark.parametrize(
    ('name', 'kind'),
    [
        ('d.tiff', np.float32),
        ('d.npy', np.float16),
        ('d.npy', np.float32),
        ('d.npy', np.float64),
        ('d.exr', np.float16),
        ('D.EXR', np.float32),
    ],
)
def test_floats_are_metres(tmp_path, name, kind):
    stored = np.array([[0, 1.5, 2], [-1, np.inf, np.nan]], kind)
    path = write(tmp_path / name, stored)
    wanted = np.array([[np.nan, 1.5, 2], [np.nan] * 3])
    np.testing.assert_allclose(read_depth(path, None), wanted)
    np.testing.assert_allclose(read_depth(path, 1000), wanted)
    np.testing.assert_allclose(read_depth(path, 1000, 1000), wanted / 1000, rtol=1e-6)
    with pytest.raises(DepthError, match='are its floats metres or millimetres'):
        read_depth(path, 1000, None)


@pytest.mark.parametrize('shape', [(2, 3), (2, 3, 1), (1, 2, 3)])
@pytest.mark.parametrize('kind', ['<i4', '>i8', '<u2', '>f4', 'f8'])
def test_arrays_of_any_integers_and_floats(tmp_path, shape, kind):
    order = 'F' if kind == 'f8' else 'C'
    np.save(tmp_path / 'd.npy', np.asarray(RAW.reshape(shape), kind, order=order))
    np.testing.assert_allclose(read_depth(tmp_path / 'd.npy', 1000, 1000), METRES)


def test_exr_channels(tmp_path):
    OpenEXR = pytest.importorskip('OpenEXR')
    path = tmp_path / 'd.exr'
    near = np.full((2, 3), 2, np.float32)
    near[0, 0] = 1e10  # Blender's "nothing there"
    for channels in (
        {'R': near},
        {'R': near, 'G': near, 'B': near},
        {'V': near},
        {'Depth.Z': near},
    ):
        OpenEXR.File({}, channels).write(str(path))
        metres = read_depth(path, None)
        assert np.isnan(metres[0, 0])
        assert (metres.ravel()[1:] == 2).all()
    OpenEXR.File({}, {'R': near, 'G': near + 1}).write(str(path))
    with pytest.raises(DepthError, match='channels G, R differ, and none is called Z'):
        read_depth(path, None)


@pytest.mark.parametrize(
    ('name', 'make', 'message'),
    [
        ('d.npy', lambda p: p.write_bytes(b'no'), 'cannot be read as a NumPy array'),
        ('d.npy', lambda p: np.save(p, np.array([{}, 1])), 'cannot be read as a NumPy array'),
        ('d.npy', lambda p: np.save(p, np.zeros((2, 3, 3))), r'of shape \(2, 3, 3\); wanted one'),
        ('d.npy', lambda p: np.save(p, np.zeros((2, 3), np.uint8)), 'dtype uint8 is a picture'),
        ('d.npy', lambda p: np.save(p, np.zeros((2, 3), bool)), 'dtype bool is a picture'),
        ('d.npy', lambda p: np.save(p, np.zeros((1, 90000))), '90000x1 pixels; wanted at most'),
        ('d.tif', lambda p: p.write_bytes(b'II*\0'), 'TIFF image'),
        ('d.tif', lambda p: Image.new('RGB', (3, 2)).save(p), 'a TIFF of mode RGB'),
        ('d.pgm', lambda p: p.write_bytes(b'P2 3 2 255 1 2'), 'not a binary PGM'),
        ('d.pgm', lambda p: pgm(p, RAW, 255), 'values up to 255; wanted 16 bits'),
        ('d.pgm', lambda p: p.write_bytes(b'P5 30 20 65535\n1234'), 'is cut off'),
        ('d.pgm', lambda p: p.write_bytes(b'P5 90000 2 65535\n'), '90000x2 pixels; wanted'),
        ('d.exr', lambda p: p.write_bytes(b'no'), 'cannot be read as OpenEXR'),
        ('d.png', lambda p: write(p.with_suffix('.tif'), RAW).rename(p), 'not a PNG image'),
    ],
)
def test_what_is_no_depth_is_named_in_one_line(tmp_path, name, make, message):
    if name == 'd.exr':
        pytest.importorskip('OpenEXR')
    make(tmp_path / name)
    with pytest.raises(DepthError, match=message) as error:
        read_depth(tmp_path / name, 1000)
    assert name in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize('name', ['d.npy', 'd.tif', 'd.pgm', 'd.png', 'd.exr'])
def test_files_that_are_not_there(tmp_path, name):
    if name == 'd.exr':
        pytest.importorskip('OpenEXR')
    with pytest.raises(DepthError, match=r'd\.\w+: .*[Nn]o such file'):
        read_depth(tmp_path / name, 1000)


def test_a_header_that_lies_takes_no_memory(tmp_path):
    path = tmp_path / 'd.npy'
    np.save(path, np.zeros((2, 3), np.float32))
    path.write_bytes(path.read_bytes().replace(b'(2, 3)', b'(6000, 6000)').replace(b'   ', b'', 2))
    with pytest.raises(DepthError, match='cannot be read as a NumPy array'):
        read_depth(path, None)


def test_without_openexr_a_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'OpenEXR', None)
    with pytest.raises(MissingDependencyError, match=r"d\.exr.*pip install 'tosa_ros\[exr\]'"):
        read_depth(tmp_path / 'd.exr', None)


def test_formats_are_loaded_when_they_are_read():
    code = "import sys, tosa_ros.sources; print({'OpenEXR', 'pillow_heif'} & set(sys.modules))"
    done = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True)
    assert done.stdout == 'set()\n'


def test_depth_of_the_same_view_is_fitted_without_blending():
    depth = np.array([[1, 2], [3, np.nan]], np.float32)
    np.testing.assert_array_equal(
        fitted(depth, 4, 4), np.repeat(np.repeat(depth, 2, axis=0), 2, axis=1)
    )
    np.testing.assert_array_equal(fitted(fitted(depth, 6, 6), 2, 2), depth)
    assert fitted(depth, 2, 2) is depth
    with pytest.raises(DepthError, match='2x2 pixels for a 4x3 image'):
        fitted(depth, 4, 3)
