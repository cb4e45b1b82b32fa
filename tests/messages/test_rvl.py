"""RVL against an encoder and a decoder that go pixel by pixel, as the paper does."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import numpy as np
import pytest
from hostile import result_or_line
from hypothesis import given, settings
from hypothesis import strategies as st

from tosa_ros.errors import RosError
from tosa_ros.messages import depth_from_message
from tosa_ros.messages.rvl import rvl_depth

RNG = np.random.default_rng(0)


def packed(depth):
    """(H, W) uint16 -> columns, rows and RVL."""
    nibbles, values, at, last = [], depth.reshape(-1).tolist(), 0, 0

    def write(number):
        while True:
            more = number > 7
            nibbles.append(number & 7 | (8 if more else 0))
            number >>= 3
            if not more:
                return

    while at < len(values):
        zeros = next((i for i, v in enumerate(values[at:]) if v), len(values) - at)
        at += zeros
        depths = next((i for i, v in enumerate(values[at:]) if not v), len(values) - at)
        write(zeros)
        write(depths)
        for value in values[at : at + depths]:
            step = value - last
            write(2 * step if step >= 0 else -2 * step - 1)
            last = value
        at += depths
    nibbles += [0] * (-len(nibbles) % 8)
    words = [
        sum(nibble << 4 * (7 - place) for place, nibble in enumerate(nibbles[i : i + 8]))
        for i in range(0, len(nibbles), 8)
    ]
    return struct.pack(f'<II{len(words)}I', depth.shape[1], depth.shape[0], *words)


def holes(depth, share):
    return np.where(RNG.random(depth.shape) < share, 0, depth).astype(np.uint16)


NOISE = RNG.integers(1, 65536, (13, 17)).astype(np.uint16)
SMOOTH = (2000 + 300 * np.sin(np.arange(24 * 32).reshape(24, 32) / 40)).astype(np.uint16)


@pytest.mark.parametrize(
    'depth',
    [
        NOISE,
        SMOOTH,
        holes(NOISE, 0.5),
        holes(SMOOTH, 0.1),
        np.zeros((4, 5), np.uint16),
        np.full((1, 1), 65535, np.uint16),
        np.array([[0, 0, 7], [7, 0, 0]], np.uint16),
        np.array([[7, 7, 0], [0, 7, 7]], np.uint16),
        np.tile(np.array([0, 65535, 1], np.uint16), (5, 7)),
    ],
)
def test_depth_comes_back_exactly(depth):
    raw = rvl_depth(packed(depth), 'depth')
    assert raw.dtype == np.uint16
    np.testing.assert_array_equal(raw, depth)


def test_the_words_of_a_known_image():
    # No zeros (0), two depths (2): 5, zigzag 10 = 2 + 8 * 1 (nibbles 10, 1), then -1, zigzag 1.
    assert packed(np.array([[5, 4]], np.uint16)) == struct.pack('<III', 2, 1, 0x02A11000)
    np.testing.assert_array_equal(rvl_depth(struct.pack('<III', 2, 1, 0x02A11000), ''), [[5, 4]])


def message(stated, data, quantisation=(0.0, 0.0)):
    return SimpleNamespace(format=stated, data=struct.pack('<iff', 0, *quantisation) + data)


def test_a_message_in_millimetres_and_one_in_metres():
    depth = holes(SMOOTH, 0.2)
    seen = depth_from_message(message('16UC1; compressedDepth rvl', packed(depth)))
    np.testing.assert_array_equal(seen, depth)
    metres = RNG.uniform(0.5, 9.0, (6, 8))
    a = 100.0 * 101.0
    b = 1 - a / 10.0
    quantised = np.rint(a / metres + b).astype(np.uint16)
    quantised[0, 0] = 0
    seen = depth_from_message(message('32FC1; compressedDepth rvl', packed(quantised), (a, b)))
    assert seen.dtype == np.float32
    assert np.isnan(seen[0, 0])
    np.testing.assert_allclose(seen[1:], metres[1:], rtol=0.01)


@pytest.mark.parametrize(
    ('data', 'said'),
    [
        (b'', '0 bytes of RVL'),
        (struct.pack('<II', 0, 5), 'RVL of 0x5 pixels'),
        (struct.pack('<II', 2**31, 2**31), '2147483648x2147483648 pixels; wanted at most'),
        (packed(NOISE)[:-40], 'cut off'),
        (packed(SMOOTH)[:8], 'cut off after 0 of 768 pixels'),
        (struct.pack('<II', 16, 12) + packed(NOISE)[8:], 'does not fit its 192 pixels|cut off'),
        (struct.pack('<III', 4, 4, 0), 'a run that does not fit'),
        (struct.pack('<II', 4, 4) + b'\xff' * 12 + bytes(4), 'a number of 25 nibbles'),
    ],
)
def test_damaged_data_are_refused(data, said):
    with pytest.raises(RosError, match=said):
        rvl_depth(data, 'depth')


@given(st.binary(max_size=60), st.integers(0, 5), st.integers(0, 5))
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_depth_or_one_line(data, width, height):
    depth, _ = result_or_line(lambda: rvl_depth(struct.pack('<II', width, height) + data, 'x'))
    assert depth is None or depth.shape == (height, width)


def test_a_few_bytes_do_not_fill_the_memory():
    data = struct.pack('<II', 6000, 6000) + bytes([0xFF] * 4) * 3
    assert result_or_line(lambda: rvl_depth(data, 'x'), 1_000_000)[0] is None


def test_an_unknown_codec_is_named():
    with pytest.raises(RosError, match="codec 'zlib'; wanted one of png, rvl"):
        depth_from_message(message('16UC1; compressedDepth zlib', b'12345'))
