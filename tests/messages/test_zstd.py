"""The transport zstd: an Image's fields and its data, packed by zstd and, earlier, by gzip."""

from __future__ import annotations

import gzip
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from hostile import result_or_line

from tosa_ros.errors import RosError
from tosa_ros.messages import depth_from_message, rgb_from_message
from tosa_ros.messages.transports import is_depth, transport_of
from tosa_ros.messages.zstd import zstd_library

pytest.importorskip('rosbags')  # which brings zstd before Python 3.14
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 8, 3), np.uint8)
DEPTH = RNG.integers(0, 9000, (6, 8)).astype(np.uint16)


def by_zstd(data):
    return zstd_library().compress(data)


def message(pixels, encoding, pack=by_zstd, fields=None):
    height, width = pixels.shape[:2]
    step = pixels[0].nbytes
    head = struct.pack('<IIBII', *(fields or (height, width, 0, step, len(encoding))))
    data = head + encoding.encode() + pack(pixels.tobytes())
    return SimpleNamespace(format='zstd', data=data, header=None)


@pytest.mark.parametrize('pack', [by_zstd, gzip.compress])
def test_colour_and_depth_come_back_exactly(pack):
    colour, depth = message(RGB, 'rgb8', pack), message(DEPTH, '16UC1', pack)
    assert transport_of(colour).name == transport_of(depth).name == 'zstd'
    assert not is_depth(colour)
    assert is_depth(depth)
    np.testing.assert_array_equal(rgb_from_message(colour), RGB)
    np.testing.assert_array_equal(depth_from_message(depth), DEPTH)
    metres = (DEPTH / 1000).astype(np.float32)
    np.testing.assert_array_equal(depth_from_message(message(metres, '32FC1', pack)), metres)


def test_one_is_not_taken_for_the_other():
    with pytest.raises(RosError, match='encoding 16UC1 is depth'):
        rgb_from_message(message(DEPTH, '16UC1'))
    with pytest.raises(RosError, match="encoding 'rgb8' is not depth"):
        depth_from_message(message(RGB, 'rgb8'))


@pytest.mark.parametrize(
    ('damaged', 'said'),
    [
        (SimpleNamespace(format='zstd', data=b'12', header=None), '2 bytes of data'),
        (message(RGB, 'rgb8', lambda _: b'nonsense'), 'neither zstd nor gzip'),
        (message(RGB, 'rgb8', lambda data: by_zstd(data)[:4] + b'nonsense'), "format 'zstd': "),
        (message(RGB, 'rgb8', lambda data: by_zstd(data[:50])), 'cut off'),
        (message(RGB, 'rgb8', lambda data: by_zstd(data * 9)), 'more than 288 bytes of pixels'),
        (message(RGB, 'rgb8', fields=(6, 8, 0, 24, 4000)), 'an encoding of 4000 letters'),
        (message(RGB, 'rgb8', fields=(60_000, 60_000, 0, 24, 4)), 'wanted at most 40 million'),
        (message(RGB, 'nonsense'), "encoding 'nonsense' is not supported"),
    ],
)
def test_damaged_data_are_refused(damaged, said):
    with pytest.raises(RosError, match=said):
        rgb_from_message(damaged)


@pytest.mark.parametrize('pack', [by_zstd, gzip.compress])
def test_a_bomb_is_refused_before_it_is_unpacked(pack):
    bomb = message(RGB, 'rgb8', lambda _: pack(bytes(100_000_000)))
    _, line = result_or_line(lambda: rgb_from_message(bomb), 1_000_000)
    assert 'more than' in line
