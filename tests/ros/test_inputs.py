"""Subscriptions and publishers of real nodes: what was published before, QoS overrides, files."""

from __future__ import annotations

import signal
import sys

import numpy as np
import pytest
from shared_memory import segments

from tosa_ros.frames import Intrinsics
from tosa_ros.ros import conversions

pytest.importorskip('rclpy')

from rclpy.qos import QoSDurabilityPolicy, QoSProfile

from tosa_ros.ros.token_cloud import tokens_from_cloud
from tosa_ros.ros.vision_node import VisionNode


@pytest.fixture
def vision(node_here, checkpoint):
    def make(**parameters):
        return node_here(VisionNode, model=str(checkpoint), max_rate=0.0, **parameters)

    return make


@pytest.mark.parametrize('early', [True, False])
def test_a_camera_info_that_is_published_once_is_met(bench, vision, early):
    """Before the node subscribes, or after."""

    def publish():
        kept = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        bench.mouths['camera_info'] = bench.node.create_publisher(
            bench.kinds['camera_info'], 'camera_info', kept
        )
        camera = Intrinsics(120.0, 120.0, 79.5, 59.5, bench.width, bench.height)
        bench.mouths['camera_info'].publish(
            conversions.camera_info_message(camera, bench.header())
        )

    def see():
        header = bench.header()
        bench.publisher('image').publish(conversions.image_message(bench.rgb, 'rgb8', header))
        depth = conversions.image_message(bench.depth_m, '32FC1', header)
        bench.publisher('depth').publish(depth)

    if early:
        publish()
    node = vision()
    bench.listen('visual_tokens')
    bench.wait(lambda: node.active and bench.publisher('image').get_subscription_count(), see)
    if not early:
        publish()
    cloud = bench.next(
        'visual_tokens', see, lambda cloud: tokens_from_cloud(cloud).spatial == 'metric'
    )
    assert np.isfinite(tokens_from_cloud(cloud).xyz).any()
    # It need not come again: its silence is no fault.
    quiet = len(bench.received['/diagnostics'])
    bench.wait(lambda: len(bench.received['/diagnostics']) > quiet + 7, see)
    assert 'camera_info' not in bench.health()['vision_node'][1]


def test_durability_of_any_topic_is_overridden(bench, vision):
    given = {
        'qos_overrides./visual_tokens.publisher.durability': 'transient_local',
        'qos_overrides./visual_tokens.publisher.depth': 3,
        'qos_overrides./depth.subscription.durability': 'transient_local',
        'qos_overrides./depth.subscription.reliability': 'reliable',
    }
    bench.listen('visual_tokens', '/rosout')
    vision(**given)
    bench.wait(lambda: bench.node.get_subscriptions_info_by_topic('/depth'))
    [tokens] = bench.node.get_publishers_info_by_topic('/visual_tokens')
    [depth] = bench.node.get_subscriptions_info_by_topic('/depth')
    assert tokens.qos_profile.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
    assert depth.qos_profile.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
    bench.wait(lambda: bench.logged('vision_node', 'configured in'))
    assert not bench.logged('vision_node', 'does not have are ignored')


def test_a_block_for_all_nodes_gives_none_an_error(bench, run_process, checkpoint, tmp_path):
    file = tmp_path / 'all.yaml'
    file.write_text(
        '/**:\n  ros__parameters:\n    max_new_tokens: 5\n    keep: 0.5\n    kepe: 1\n'
        f'    model: {checkpoint}\n    use_sim_time: false\n'
        '    qos_overrides:\n      /answer:\n        publisher:\n          depth: 3\n'
    )
    words = [sys.executable, '-m', 'tosa_ros.ros.run', 'vision_node', '--ros-args']
    process = run_process([*words, '--params-file', str(file)])
    bench.wait(lambda: bench.state('vision_node').startswith('active'))
    log = process.output
    assert '[ERROR]' not in log
    assert 'does not have are ignored: kepe (did you mean keep?); see' in log
    others = 'max_new_tokens, qos_overrides./answer.publisher.depth'
    assert f'left to other nodes, not for vision_node: {others}' in log
    assert process.end() == 0


def test_what_a_killed_node_left_is_removed_when_it_starts_again(bench, spawn, checkpoint):
    process = spawn('vision_node', model=checkpoint)
    bench.wait(lambda: segments(process.popen.pid))
    left = segments(process.popen.pid)
    process.end(signal.SIGKILL)
    again = spawn('vision_node', model=checkpoint)
    bench.wait(lambda: segments(again.popen.pid))
    assert not [file for file in left if file.exists()]
    assert again.end(signal.SIGINT) == 0
