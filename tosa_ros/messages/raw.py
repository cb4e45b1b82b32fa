"""Raw images: a table of encodings, and their pixels as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from tosa_ros.errors import RosError
from tosa_ros.messages.colour import BAYER, demosaic, rgb_from_planes, rgb_from_yuv422
from tosa_ros.pictures import check_size

BAYER_ENCODINGS = {f'bayer_{pattern}{bits}': pattern for bits in (8, 16) for pattern in BAYER}
# encoding: (dtype, channels); OpenCV's type names hold colour in OpenCV's order, BGR.
ENCODINGS = {
    'rgb8': (np.uint8, 3),
    'bgr8': (np.uint8, 3),
    '8UC3': (np.uint8, 3),
    'rgba8': (np.uint8, 4),
    'bgra8': (np.uint8, 4),
    '8UC4': (np.uint8, 4),
    'rgb16': (np.uint16, 3),
    'bgr16': (np.uint16, 3),
    '16UC3': (np.uint16, 3),
    'rgba16': (np.uint16, 4),
    'bgra16': (np.uint16, 4),
    '16UC4': (np.uint16, 4),
    'mono8': (np.uint8, 1),
    '8UC1': (np.uint8, 1),
    'mono16': (np.uint16, 1),
    '16UC1': (np.uint16, 1),
    '32FC1': (np.float32, 1),
    'uyvy': (np.uint8, 2),
    'yuv422': (np.uint8, 2),
    'yuyv': (np.uint8, 2),
    'yuv422_yuy2': (np.uint8, 2),
    **{name: (np.uint16 if name.endswith('16') else np.uint8, 1) for name in BAYER_ENCODINGS},
}
# A plane of luma, and below it one of chroma for 2x2 pixels, in the order u, v or v, u.
PLANAR = ('nv12', 'nv21')
DEPTH_ENCODINGS = ('16UC1', 'mono16', '32FC1')
_KNOWN = ', '.join(
    [
        *(name for name in (*ENCODINGS, *PLANAR) if name not in BAYER_ENCODINGS),
        f'bayer_ with {", ".join(BAYER)} and 8 or 16',
    ]
)
_BGR = {'bgr8', 'bgra8', 'bgr16', 'bgra16', '8UC3', '8UC4', '16UC3', '16UC4'}


def raw_colour(message: Any) -> np.ndarray:
    """Colour (H, W, 3) uint8 of a sensor_msgs/Image.

    Raises:
        RosError: an encoding that holds no colour, or data that do not fit the header.
    """
    encoding = message.encoding
    if encoding in ('32FC1', '16UC1'):
        raise RosError(
            f'image: encoding {encoding} is depth, not colour; is a depth topic remapped to image?'
        )
    if encoding in PLANAR:
        return _planes(message)
    pixels = pixels_from_message(message)
    if pixels.ndim == 3 and pixels.shape[-1] == 2:
        return rgb_from_yuv422(pixels, luma_first=encoding in ('yuyv', 'yuv422_yuy2'))
    return rgb_from_pixels(pixels, encoding)


def raw_depth(message: Any) -> np.ndarray:
    """Depth (H, W) uint16 or float32 of a sensor_msgs/Image, as its sensor wrote it.

    Raises:
        RosError: an encoding that holds no depth, or data that do not fit the header.
    """
    if message.encoding not in DEPTH_ENCODINGS:
        raise RosError(
            f'depth: encoding {quoted(message.encoding)} is not depth; wanted one of '
            f'{", ".join(DEPTH_ENCODINGS)}'
        )
    return pixels_from_message(message)


def pixels_from_message(message: Any) -> np.ndarray:
    """The pixels of an Image as encoded: (H, W) or (H, W, C), native byte order.

    Rows may be padded (`step`) and words big-endian; the array shares the message's memory
    where it can.
    """
    encoding, width, height = message.encoding, message.width, message.height
    if encoding not in ENCODINGS:
        raise RosError(
            f'image: encoding {quoted(encoding)} is not supported; wanted one of {_KNOWN}'
        )
    dtype, channels = np.dtype(ENCODINGS[encoding][0]), ENCODINGS[encoding][1]
    rows = _rows(message, height, width * channels * dtype.itemsize)
    order = '>' if getattr(message, 'is_bigendian', 0) else '<'
    words = np.ascontiguousarray(rows).view(dtype.newbyteorder(order))
    shape = (height, width) if channels == 1 else (height, width, channels)
    return words.reshape(shape).astype(dtype, copy=False)


def _rows(message: Any, count: int, row: int) -> np.ndarray:
    """(count, row) bytes of an image's data without the padding of its rows."""
    encoding, width, height, step = message.encoding, message.width, message.height, message.step
    if width < 1 or height < 1:
        raise RosError(f'image: size is {width}x{height}; wanted at least 1x1 pixel')
    if step < row:
        raise RosError(
            f'image: step is {step} bytes, but a row of {width} {encoding} pixels has {row}'
        )
    data = np.frombuffer(message.data, np.uint8)
    # The last row need not be padded, so that there may be fewer than step * height bytes.
    wanted = step * (count - 1) + row
    if data.size < wanted:
        raise RosError(
            f'image: {data.size} bytes of data, but {width}x{height} {encoding} with step {step} '
            f'needs {wanted}; the image is cut off'
        )
    check_size(width, height, 'image', RosError)
    return np.lib.stride_tricks.as_strided(data, (count, row), (step, 1), writeable=False)


def _planes(message: Any) -> np.ndarray:
    """Colour (H, W, 3) uint8 of an encoding in PLANAR.

    Some publishers give the rows of all planes as the height.
    """
    encoding, width, height = message.encoding, message.width, message.height
    if len(message.data) == message.step * height and height % 3 == 0:
        height = height * 2 // 3
    if width % 2 or height % 2:
        raise RosError(f'image: {encoding} has {width}x{height} pixels; wanted even numbers')
    rows = _rows(message, height * 3 // 2, width)
    return rgb_from_planes(rows, v_first=encoding == 'nv21')


def rgb_from_pixels(pixels: np.ndarray, encoding: str) -> np.ndarray:
    """(H, W) or (H, W, 3 or 4) of an encoding -> colour (H, W, 3) uint8."""
    if encoding in BAYER_ENCODINGS:
        pixels, encoding = demosaic(pixels, BAYER_ENCODINGS[encoding]), 'rgb'
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    channels = [2, 1, 0] if encoding in _BGR else [0, 1, 2]
    return np.ascontiguousarray(pixels[..., channels] if encoding != 'rgb8' else pixels)


def quoted(text: str) -> str:
    """Text from a message, quoted and cut to a line's length."""
    return repr(text if len(text) <= 40 else text[:40] + '...')
