"""One table says how images travel; the nodes' topics and settings follow from it."""

from __future__ import annotations

import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tosa_ros.errors import RosError
from tosa_ros.messages import TRANSPORTS, depth_from_message, rgb_from_message
from tosa_ros.messages.making import encoded
from tosa_ros.messages.transports import (
    IMAGE_TYPES,
    image_topic,
    is_depth,
    stated_encoding,
    transport,
    transport_of,
)
from tosa_ros.settings.nodes import DEPTH_NODE, VISION_NODE

GREY = struct.pack('<IIBII', 1, 1, 0, 1, 5) + b'mono8.'
RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def test_a_topic_and_its_transport_are_found_from_one_another():
    assert transport('raw').topic('/cam/image') == image_topic('/cam/image') == '/cam/image'
    for one in TRANSPORTS[1:]:
        assert one.topic('/cam/image') == f'/cam/image/{one.name}'
        assert image_topic(one.topic('/cam/image')) == '/cam/image'
    assert image_topic('/cam/raw') == '/cam/raw'
    assert {one.type for one in TRANSPORTS} < IMAGE_TYPES


@pytest.mark.parametrize(
    ('message', 'name', 'depth'),
    [
        (SimpleNamespace(encoding='rgb8'), 'raw', False),
        (SimpleNamespace(encoding='16UC1'), 'raw', True),
        (SimpleNamespace(encoding='mono16'), 'raw', True),
        (SimpleNamespace(format='rgb8; jpeg compressed bgr8'), 'compressed', False),
        (SimpleNamespace(format='16UC1; compressedDepth png'), 'compressedDepth', True),
        (SimpleNamespace(format='16UC1; png compressed '), 'compressed', True),
    ],
)
def test_a_message_shows_its_transport_and_whether_it_is_depth(message, name, depth):
    assert transport_of(message).name == name
    assert is_depth(message) == depth


@pytest.mark.parametrize(
    ('message', 'encoding'),
    [
        (SimpleNamespace(encoding='mono8'), 'mono8'),
        (SimpleNamespace(format='mono8; jpeg compressed '), 'mono8'),
        (SimpleNamespace(format='jpeg'), ''),
        (SimpleNamespace(encoding='h264;yuv420p;bgr8;rgb8', pts=0), 'rgb8'),
        (SimpleNamespace(encoding='h264', pts=0), ''),
        (SimpleNamespace(format='zstd', data=GREY), 'mono8'),
    ],
)  # fmt: skip
def test_a_message_says_what_was_packed(message, encoding):
    assert stated_encoding(message) == encoding


def test_colour_and_depth_are_not_taken_for_one_another():
    picture = SimpleNamespace(format='png', data=encoded(RGB, 'png'))
    np.testing.assert_array_equal(rgb_from_message(picture), RGB)
    with pytest.raises(RosError, match="format 'png' is not depth"):
        depth_from_message(picture)
    with pytest.raises(RosError, match='is depth, not colour'):
        rgb_from_message(SimpleNamespace(format='16UC1; compressedDepth png', data=b''))
    with pytest.raises(
        RosError, match='SimpleNamespace is not an image; wanted sensor_msgs/msg/Im'
    ):
        rgb_from_message(SimpleNamespace(data=b''))


def test_the_nodes_offer_every_transport_that_carries_what_they_need():
    by_name = {one.name: one for one in (*DEPTH_NODE, *VISION_NODE)}
    for setting, holds in (('image_transport', 'colour'), ('depth_transport', 'depth')):
        wanted = {one.name for one in TRANSPORTS if one.carries(holds)}
        assert set(by_name[setting].kind.choices) == wanted


def test_the_table_in_the_documents_is_this_one():
    page = (Path(__file__).parents[2] / 'docs' / 'evaluation.md').read_text()
    rows = [line.strip('| ').split(' | ') for line in page.splitlines() if line.startswith('| `')]
    listed = {row[0].strip('`'): row for row in rows}
    for one in TRANSPORTS:
        assert listed[one.name][1] == one.type
        assert listed[one.name][-1].strip(' |') == one.needs or not one.needs
