"""Compressed pictures, `compressed` of image_transport: colour, and depth in 16-bit PNG.

What a picture holds is said before the `;` of its format ('bgr8; jpeg compressed bgr8'); drivers
that only write 'png' leave it to the picture itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tosa_ros.errors import RosError
from tosa_ros.messages.raw import (
    BAYER_ENCODINGS,
    DEPTH_ENCODINGS,
    ENCODINGS,
    PLANAR,
    quoted,
    rgb_from_pixels,
)
from tosa_ros.pictures import open_picture

_PNG = b'\x89PNG\r\n\x1a\n'
_HEADER = slice(24, 26)  # where a PNG has its bits and its colour type
_GREY_16 = bytes([16, 0])


def compressed_colour(message: Any) -> np.ndarray:
    """Colour (H, W, 3) uint8 of a sensor_msgs/CompressedImage.

    Raises:
        RosError: depth, or data that are not a complete image.
    """
    what, encoding = f'image: format {quoted(message.format)}', stated_encoding(message)
    if encoding in ('16UC1', '32FC1'):
        raise RosError(f'{what} is depth, not colour')
    picture = decoded(message.data, what, message.format)
    if picture.mode == 'L' or picture.mode.startswith('I'):
        # 16-bit grey would be clipped to white by convert().
        grey = np.asarray(picture)
        grey = grey if picture.mode == 'L' else grey.astype(np.uint16)
        return rgb_from_pixels(grey, encoding if encoding in BAYER_ENCODINGS else 'mono')
    rgb = np.asarray(picture.convert('RGB'))
    # Some publishers hand RGB to an encoder that wants BGR, and say so after 'compressed'.
    swapped = 'compressed rgb' in message.format
    return np.ascontiguousarray(rgb[..., ::-1]) if swapped else rgb


def picture_depth(message: Any) -> np.ndarray:
    """Depth (H, W) uint16 of a CompressedImage with a PNG of 16-bit grey.

    Raises:
        RosError: a picture that holds no depth, or data that are not a complete one.
    """
    what = f'depth: format {quoted(message.format)}'
    if not holds_depth(message):
        raise RosError(
            f"{what} is not depth; wanted '16UC1; compressedDepth', '32FC1; ...' or a PNG of "
            '16-bit grey'
        )
    return png_depth(message.data, what)


def holds_depth(message: Any) -> bool:
    """Whether a CompressedImage holds depth, by what it says; else by whether it could."""
    encoding = stated_encoding(message)
    if encoding in DEPTH_ENCODINGS:
        return True
    if encoding in ENCODINGS or encoding in PLANAR:
        return False
    start = bytes(memoryview(message.data)[: _HEADER.stop])
    return start.startswith(_PNG) and start[_HEADER] == _GREY_16


def stated_encoding(message: Any) -> str:
    """The encoding before a format's semicolon, or all of a format without one."""
    return message.format.split(';')[0].strip()


def png_depth(data: Any, what: str) -> np.ndarray:
    """Depth (H, W) uint16 of a PNG's bytes.

    Raises:
        RosError: not a complete PNG of 16-bit grey.
    """
    raw = np.asarray(decoded(data, what))
    if raw.ndim != 2 or raw.dtype == np.uint8:
        raise RosError(f'{what}: it holds {raw.shape} {raw.dtype}; wanted 16-bit grey')
    return raw.astype(np.uint16)


def decoded(data: Any, what: str, format_: str = '') -> Any:
    """A picture of Pillow's; of bytes that are JPEG or PNG, or WebP where the format says so."""
    formats = ('WEBP',) if 'webp' in format_.lower() else ('JPEG', 'PNG')
    return open_picture(memoryview(data), what, RosError, formats)
