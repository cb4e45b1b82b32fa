"""Raw images: a table of encodings, and their pixels as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from tosa_ros.errors import RosError
from tosa_ros.pictures import check_size

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
    'mono8': (np.uint8, 1),
    '8UC1': (np.uint8, 1),
    'mono16': (np.uint16, 1),
    '16UC1': (np.uint16, 1),
    '32FC1': (np.float32, 1),
    'uyvy': (np.uint8, 2),
    'yuv422': (np.uint8, 2),
    'yuyv': (np.uint8, 2),
    'yuv422_yuy2': (np.uint8, 2),
}
DEPTH_ENCODINGS = ('16UC1', 'mono16', '32FC1')
_BGR = {'bgr8', 'bgra8', 'bgr16', '8UC3', '8UC4'}


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
    pixels = pixels_from_message(message)
    if pixels.shape[-1] == 2 and pixels.ndim == 3:
        return _rgb_from_yuv422(pixels, luma_first=encoding in ('yuyv', 'yuv422_yuy2'))
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
    encoding, width, height, step = message.encoding, message.width, message.height, message.step
    if encoding not in ENCODINGS:
        raise RosError(
            f'image: encoding {quoted(encoding)} is not supported; wanted one of '
            f'{", ".join(ENCODINGS)} (image_proc turns Bayer into rgb8)'
        )
    dtype, channels = np.dtype(ENCODINGS[encoding][0]), ENCODINGS[encoding][1]
    if width < 1 or height < 1:
        raise RosError(f'image: size is {width}x{height}; wanted at least 1x1 pixel')
    row = width * channels * dtype.itemsize
    if step < row:
        raise RosError(
            f'image: step is {step} bytes, but a row of {width} {encoding} pixels has {row}'
        )
    data = np.frombuffer(message.data, np.uint8)
    wanted = step * (height - 1) + row
    if data.size < wanted:
        raise RosError(
            f'image: {data.size} bytes of data, but {width}x{height} {encoding} with step {step} '
            f'needs {wanted}; the image is cut off'
        )
    check_size(width, height, 'image', RosError)
    # The last row need not be padded, so that there may be fewer than step * height bytes.
    rows = np.lib.stride_tricks.as_strided(data, (height, row), (step, 1), writeable=False)
    words = np.ascontiguousarray(rows).view(
        dtype.newbyteorder('>' if message.is_bigendian else '<')
    )
    shape = (height, width) if channels == 1 else (height, width, channels)
    return words.reshape(shape).astype(dtype, copy=False)


def rgb_from_pixels(pixels: np.ndarray, encoding: str) -> np.ndarray:
    """(H, W) or (H, W, 3 or 4) of an encoding -> colour (H, W, 3) uint8."""
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    channels = [2, 1, 0] if encoding in _BGR else [0, 1, 2]
    return np.ascontiguousarray(pixels[..., channels] if encoding != 'rgb8' else pixels)


def quoted(text: str) -> str:
    """Text from a message, quoted and cut to a line's length."""
    return repr(text if len(text) <= 40 else text[:40] + '...')


def _rgb_from_yuv422(pixels: np.ndarray, luma_first: bool) -> np.ndarray:
    """(H, W, 2) of luma and alternating u, v to (H, W, 3) RGB by BT.601 (full range)."""
    if pixels.shape[1] % 2:
        raise RosError(f'image: yuv422 is {pixels.shape[1]} pixels wide; wanted an even width')
    luma, chroma = (0, 1) if luma_first else (1, 0)
    y = pixels[..., luma].astype(np.float32)
    u = np.repeat(pixels[:, 0::2, chroma].astype(np.float32) - 128, 2, axis=1)
    v = np.repeat(pixels[:, 1::2, chroma].astype(np.float32) - 128, 2, axis=1)
    rgb = np.stack([y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u], axis=-1)
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
