"""Compressed images: `compressed` (JPEG, PNG) and `compressedDepth`, a table of its codecs."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from tosa_ros.errors import RosError
from tosa_ros.messages.raw import DEPTH_ENCODINGS, quoted, rgb_from_pixels
from tosa_ros.pictures import open_picture

# What compressed_depth_image_transport puts before the data: a number, and the quantisation.
DEPTH_HEADER = struct.Struct('<iff')


def compressed_colour(message: Any) -> np.ndarray:
    """Colour (H, W, 3) uint8 of a sensor_msgs/CompressedImage.

    Raises:
        RosError: data that are not a complete image.
    """
    picture = _decoded(message.data, f'image: format {quoted(message.format)}')
    if picture.mode.startswith('I'):  # 16-bit grey, which convert() would clip to white.
        return rgb_from_pixels(np.asarray(picture).astype(np.uint16), 'mono16')
    rgb = np.asarray(picture.convert('RGB'))
    # Some publishers hand RGB to an encoder that wants BGR, and say so after 'compressed'.
    swapped = message.format.rstrip().endswith('compressed rgb8')
    return np.ascontiguousarray(rgb[..., ::-1]) if swapped else rgb


def compressed_depth(message: Any) -> np.ndarray:
    """Depth (H, W) uint16 or float32 of a `compressedDepth` CompressedImage.

    Raises:
        RosError: an encoding that holds no depth, a codec that is not supported, or data that
            are cut off.
    """
    encoding = message.format.split(';')[0].strip()
    what = f'depth: format {quoted(message.format)}'
    if encoding not in DEPTH_ENCODINGS:
        raise RosError(f"{what} is not depth; wanted '16UC1; compressedDepth' or '32FC1; ...'")
    codec = 'rvl' if 'rvl' in message.format.lower() else 'png'
    if codec not in DEPTH_CODECS:
        raise RosError(
            f'{what} is {codec.upper()}, which is not supported; set the publisher to png'
        )
    data = bytes(memoryview(message.data))
    if len(data) <= DEPTH_HEADER.size:
        raise RosError(f'{what}: {len(data)} bytes of data; wanted a 12-byte header and a PNG')
    _, quant_a, quant_b = DEPTH_HEADER.unpack_from(data)
    raw = DEPTH_CODECS[codec](data[DEPTH_HEADER.size :], what)
    return raw if encoding != '32FC1' else _metres(raw, quant_a, quant_b, what)


def _metres(raw: np.ndarray, quant_a: float, quant_b: float, what: str) -> np.ndarray:
    """float32 metres, NaN where there is none, of what was quantised to 16 bits."""
    if not np.isfinite([quant_a, quant_b]).all() or quant_a <= 0:
        raise RosError(
            f'{what}: quantisation is {quant_a:g}, {quant_b:g}; wanted positive numbers'
        )
    # The publisher wrote round(a / depth + b), and 0 where there is no depth.
    inverse = raw.astype(np.float32) - np.float32(quant_b)
    depth = np.full(raw.shape, np.nan, np.float32)
    np.divide(np.float32(quant_a), inverse, out=depth, where=(raw > 0) & (inverse > 0))
    return depth


def _png_depth(data: bytes, what: str) -> np.ndarray:
    raw = np.asarray(_decoded(data, what))
    if raw.ndim != 2 or raw.dtype == np.uint8:
        raise RosError(f'{what}: its PNG holds {raw.shape} {raw.dtype}; wanted 16-bit grey')
    return raw.astype(np.uint16)


def _decoded(data: Any, what: str) -> Any:
    return open_picture(memoryview(data), what, RosError, ('JPEG', 'PNG'))


# codec: data after the header, and what to call them in errors -> (H, W) uint16
DEPTH_CODECS: dict[str, Callable[[bytes, str], np.ndarray]] = {'png': _png_depth}
