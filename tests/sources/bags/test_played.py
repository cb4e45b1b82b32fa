"""What a graph must be told to hear a bag."""

from __future__ import annotations

import numpy as np
import pytest

from tosa_ros.errors import DataError
from tosa_ros.frames import Frame, Intrinsics

pytest.importorskip('rosbags')

from tosa_ros.sources.bags import BagTopics
from tosa_ros.sources.bags import writing as bags
from tosa_ros.sources.bags.played import graph_arguments


@pytest.fixture
def walk(tmp_path):
    def make(depth=True):
        rgb = np.zeros((8, 12, 3), np.uint8)
        depth_m = np.full((8, 12), 2.0, np.float32) if depth else None
        camera = Intrinsics(10.0, 10.0, 5.5, 3.5, 12, 8)
        frames = [Frame(rgb, depth_m, intrinsics=camera, stamp=float(s)) for s in range(2)]
        bags.frames_to_bag(tmp_path / 'walk', frames)
        return tmp_path / 'walk'

    return make


def test_its_topics_and_transports(walk):
    found = graph_arguments(walk(), BagTopics())
    assert found['image_topic'] == bags.COLOUR_TOPIC
    assert found['depth_topic'] == bags.DEPTH_TOPIC
    assert found['camera_info_topic'] == bags.INFO_TOPIC
    assert (found['image_transport'], found['depth_transport']) == ('raw', 'raw')
    assert 'depth_source' not in found


def test_without_depth_there_is_no_source_of_it(walk):
    found = graph_arguments(walk(depth=False), BagTopics())
    assert found['depth_source'] == 'none'
    assert 'depth_topic' not in found


def test_what_is_named_is_taken_or_refused(walk):
    path = walk()
    assert graph_arguments(path, BagTopics(depth='none'))['depth_source'] == 'none'
    with pytest.raises(DataError, match='topic /other: not in the bag'):
        graph_arguments(path, BagTopics(image='/other'))
