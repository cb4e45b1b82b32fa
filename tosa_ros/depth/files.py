"""Depth files: what PNG, PGM, TIFF, NumPy and OpenEXR files store.

`sensor.read_depth` makes metres of it.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tosa_ros.errors import DepthError, MissingDependencyError, printable
from tosa_ros.pictures import check_size, open_picture

SUFFIXES = ('.png', '.pgm', '.tif', '.tiff', '.npy', '.exr')
# Blender's 1e10 and the like: renderers write such where there is nothing.
BEYOND_M = 1e9
# Of 16-bit grey; which of them depends on the Pillow and the byte order.
_SIXTEEN_BIT_MODES = ('I;16', 'I;16B', 'I;16L', 'I;16N', 'I')
_PGM = re.compile(rb'P5\s+(?:#[^\n]*\n\s*)*(\d+)\s+(\d+)\s+(\d+)\s')
# The names of the one channel of depth, in the order in which they are believed.
_EXR_CHANNELS = ('z', 'depth.z', 'depth', 'depth.v', 'viewlayer.depth.z', 'v', 'y')


def stored_depth(path: str | Path) -> np.ndarray:
    """What a depth file stores: (H, W), whole numbers or floats.

    Raises:
        DepthError: a file that is missing, damaged, of another kind, or a picture of depth.
        MissingDependencyError: OpenEXR is not installed.
    """
    path = Path(path)
    kind = path.suffix.lower()
    read = {'.npy': _npy, '.exr': _exr, '.pgm': _pgm, '.tif': _tiff, '.tiff': _tiff}
    return read.get(kind, png_depth)(path)


def png_depth(path: Path) -> np.ndarray:
    """A 16-bit grey PNG: (H, W) uint16.

    Raises:
        DepthError: a file that is missing, cut off, no PNG, or not 16-bit grey.
    """
    picture = open_picture(path, str(path), DepthError, ('PNG',))
    if picture.mode not in _SIXTEEN_BIT_MODES:
        raise DepthError(
            f'{path}: not metric depth, but a PNG of mode {picture.mode}; wanted 16-bit grey '
            'as the sensor wrote it (8 bits and colours are pictures of depth)'
        )
    return np.asarray(picture).astype(np.uint16)


def _tiff(path: Path) -> np.ndarray:
    picture = open_picture(path, str(path), DepthError, ('TIFF',))
    if picture.mode not in (*_SIXTEEN_BIT_MODES, 'F'):
        raise DepthError(
            f'{path}: not metric depth, but a TIFF of mode {picture.mode}; wanted one channel of '
            '16 bits, or of 32-bit floats'
        )
    return np.asarray(picture)


def _pgm(path: Path) -> np.ndarray:
    """A binary PGM of 16 bits, whose numbers Pillow would stretch to the largest one."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DepthError(f'{path}: cannot be read: {error.strerror}') from error
    header = _PGM.match(data)
    if not header:
        raise DepthError(f'{path}: not a binary PGM image (P5)')
    width, height, most = map(int, header.groups())
    check_size(width, height, str(path), DepthError)
    if not 256 <= most <= 65535:
        raise DepthError(f'{path}: values up to {most}; wanted 16 bits, as the sensor wrote them')
    if len(data) - header.end() < 2 * width * height:
        raise DepthError(f'{path}: is cut off: it lacks pixels of its {width}x{height}')
    pixels = np.frombuffer(data, '>u2', width * height, header.end())
    return pixels.reshape(height, width).astype(np.uint16)


def _npy(path: Path) -> np.ndarray:
    try:
        mapped = np.load(path, mmap_mode='r', allow_pickle=False)
    except FileNotFoundError as error:
        raise DepthError(f'{path}: no such file') from error
    except Exception as error:  # numpy raises ValueError, EOFError, OSError, SyntaxError ...
        reason = printable(str(error)) or type(error).__name__
        raise DepthError(f'{path}: cannot be read as a NumPy array: {reason}') from error
    shape = getattr(mapped, 'shape', ())
    sides = [side for side in shape if side != 1] if len(shape) == 3 else list(shape)
    if len(sides) != 2:
        raise DepthError(f'{path}: an array of shape {shape}; wanted one channel, (H, W)')
    check_size(sides[1], sides[0], str(path), DepthError)
    return np.array(mapped).reshape(sides)


def _exr(path: Path) -> np.ndarray:
    try:
        import OpenEXR
    except ImportError as error:
        raise MissingDependencyError('OpenEXR', 'exr', f'{path}: reading OpenEXR') from error
    if not path.is_file():
        raise DepthError(f'{path}: no such file')
    try:
        low, high = OpenEXR.File(str(path), header_only=True).header()['dataWindow']
        width, height = (int(b) - int(a) + 1 for a, b in zip(low, high, strict=True))
        check_size(width, height, str(path), DepthError)
        channels = OpenEXR.File(str(path), separate_channels=True).channels()
        pixels = {name: np.array(channel.pixels) for name, channel in channels.items()}
    except DepthError:
        raise
    except Exception as error:  # what OpenEXR raises is no one class
        reason = printable(str(error)) or type(error).__name__
        raise DepthError(f'{path}: cannot be read as OpenEXR: {reason}') from error
    depth = _depth_channel(path, pixels).astype(np.float32)
    return np.where(depth < BEYOND_M, depth, np.float32(np.nan))


def _depth_channel(path: Path, pixels: dict[str, np.ndarray]) -> np.ndarray:
    """The channel of depth: one of a known name, the only one, or three that are the same."""
    by_name = {name.lower(): one for name, one in pixels.items()}
    for name in _EXR_CHANNELS:
        if name in by_name:
            return by_name[name]
    colours = [one for name, one in by_name.items() if name != 'a']
    if colours and all(np.array_equal(colours[0], one, equal_nan=True) for one in colours[1:]):
        return colours[0]
    raise DepthError(
        f'{path}: its channels {", ".join(pixels)} differ, and none is called Z, Y or depth; '
        'wanted one channel of depth'
    )
