"""`compressedDepth` of image_transport: a header and then PNG or RVL; a table of its codecs."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from tosa_ros.errors import RosError
from tosa_ros.messages.compressed import png_depth, stated_encoding
from tosa_ros.messages.raw import DEPTH_ENCODINGS, quoted
from tosa_ros.messages.rvl import rvl_depth

# What compressed_depth_image_transport puts before the data: a number, and the quantisation.
DEPTH_HEADER = struct.Struct('<iff')
# codec: data after the header, and what to call them in errors -> (H, W) uint16
DEPTH_CODECS: dict[str, Callable[[Any, str], np.ndarray]] = {'png': png_depth, 'rvl': rvl_depth}


def compressed_depth(message: Any) -> np.ndarray:
    """Depth (H, W) uint16 or float32 of a `compressedDepth` CompressedImage.

    Raises:
        RosError: an encoding that holds no depth, a codec that is not in the table, or data that
            are cut off.
    """
    encoding, what = stated_encoding(message), f'depth: format {quoted(message.format)}'
    if encoding not in DEPTH_ENCODINGS:
        raise RosError(f"{what} is not depth; wanted '16UC1; compressedDepth' or '32FC1; ...'")
    # The oldest publishers know no codec but png, and name none.
    codec = (message.format.partition('compressedDepth')[2].lower().split() or ['png'])[0]
    if codec not in DEPTH_CODECS:
        raise RosError(f'{what}: codec {quoted(codec)}; wanted one of {", ".join(DEPTH_CODECS)}')
    data = memoryview(message.data)
    if len(data) <= DEPTH_HEADER.size:
        raise RosError(
            f'{what}: {len(data)} bytes of data; wanted a 12-byte header and {codec.upper()}'
        )
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
