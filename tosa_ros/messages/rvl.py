"""RVL depth (Wilson, Fast Lossless Depth Image Compression, ISS 2017), without a loop over pixels.

The stream is nibbles, the first in the highest bits of each little-endian 32-bit word. A number is
one nibble or more, three bits each, lowest first; the fourth bit says that more follow. The image
is runs: how many zeros, how many depths, and each depth's difference to the last one, zigzag.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from tosa_ros.errors import RosError
from tosa_ros.pictures import check_size

_SIZE = struct.Struct('<II')  # columns, rows
_LONGEST = 11  # nibbles of a 32-bit number


def rvl_depth(data: Any, what: str) -> np.ndarray:
    """Depth (H, W) uint16 of RVL data, as compressed_depth_image_transport has them.

    what: how errors call the data.

    Raises:
        RosError: data that are cut off, or that do not fit their own size.
    """
    if len(data) < _SIZE.size:
        raise RosError(f'{what}: {len(data)} bytes of RVL; wanted at least {_SIZE.size}')
    width, height = _SIZE.unpack_from(data)
    if not width or not height:
        raise RosError(f'{what}: RVL of {width}x{height} pixels; wanted at least 1x1')
    check_size(width, height, what, RosError)
    numbers = _numbers(np.frombuffer(data, np.uint8, offset=_SIZE.size), what)
    return _pixels(numbers, width * height, what).reshape(height, width)


def _numbers(data: np.ndarray, what: str) -> np.ndarray:
    """(N,) int64: every number of the stream; what is left over at its end may be in it too."""
    words = data[: data.size // 4 * 4].reshape(-1, 4)[:, ::-1]
    nibbles = np.stack([words >> 4, words & 15], axis=-1).reshape(-1)
    ends = np.flatnonzero(nibbles < 8)
    starts = np.concatenate([[0], ends[:-1] + 1]) if ends.size else ends
    lengths = ends - starts + 1
    if lengths.size and lengths.max() > _LONGEST:
        raise RosError(f'{what}: RVL with a number of {lengths.max()} nibbles; is it damaged?')
    numbers = np.zeros(ends.size, np.int64)
    for place in range(int(lengths.max(initial=0))):
        longer = lengths > place
        part = nibbles[starts[longer] + place].astype(np.int64) & 7
        numbers[longer] |= part << (3 * place)
    return numbers


def _pixels(numbers: np.ndarray, count: int, what: str) -> np.ndarray:
    """(count,) uint16 of the runs."""
    # Of every run: where its differences begin in the stream and its depths in the image, and
    # how many there are.
    froms, tos, sizes = [], [], []
    at = pixel = 0
    while pixel < count:
        if at + 1 >= len(numbers):
            raise RosError(f'{what}: RVL is cut off after {pixel} of {count} pixels')
        zeros, depths = numbers.item(at), numbers.item(at + 1)
        froms.append(at + 2)
        tos.append(pixel + zeros)
        sizes.append(depths)
        at += 2 + depths
        pixel += zeros + depths
        if pixel > count or not zeros + depths:
            raise RosError(f'{what}: RVL has a run that does not fit its {count} pixels')
    if at > len(numbers):
        raise RosError(f'{what}: RVL is cut off: {len(numbers)} of {at} numbers are there')
    counts = np.array(sizes, np.int64)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    steps = numbers[np.repeat(np.array(froms, np.int64), counts) + within]
    depths = np.cumsum((steps >> 1) ^ -(steps & 1))
    pixels = np.zeros(count, np.uint16)
    pixels[np.repeat(np.array(tos, np.int64), counts) + within] = depths.astype(np.uint16)
    return pixels
