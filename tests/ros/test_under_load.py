"""Colour and depth of one instant stay together when more messages wait than can be read."""

from __future__ import annotations

import time

import pytest

pytest.importorskip('rclpy')

from tosa_ros.ros.token_cloud import tokens_from_cloud
from tosa_ros.ros.vision_node import VisionNode


def test_depth_is_not_lost_when_messages_come_in_bursts(bench, node_here, checkpoint):
    node_here(VisionNode, model=str(checkpoint), max_rate=0.0)
    bench.next('visual_tokens', bench.see, lambda c: tokens_from_cloud(c).spatial == 'metric')
    clouds, start = bench.received['visual_tokens'], time.time()
    for burst in range(10):
        # Nothing is read meanwhile, as under a load; the last colour's depth is not here yet.
        for index in range(3):
            bench.see(stamp_s=start + burst + 0.033 * index, depth=index < 2)
        wanted = start + burst + 0.033
        came = bench.wait(lambda w=wanted: [c for c in clouds if _stamp(c) >= w - 1e-3])
        assert [tokens_from_cloud(cloud).spatial for cloud in came] == ['metric']
        assert _stamp(came[0]) == pytest.approx(wanted, abs=1e-3)


def _stamp(cloud):
    return cloud.header.stamp.sec + 1e-9 * cloud.header.stamp.nanosec
