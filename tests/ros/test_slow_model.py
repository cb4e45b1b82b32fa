"""vision_node in a process of its own, in the middle of an inference that takes seconds."""

from __future__ import annotations

import dataclasses
import signal
import time

import pytest

pytest.importorskip('rclpy')

from tosa_ros.ros.node import WORKER_STOP_S

SLACK_S = 10.0  # For a busy machine.


@pytest.fixture(scope='module')
def slow_checkpoint(tmp_path_factory):
    """The tiny architecture with 6,400 image tokens: attention alone is 120 GFLOP an image."""
    from tosa_ros.vlm import untrained

    tiny = untrained.SIZES['tiny']
    vision = {'hidden_size': 64, 'num_hidden_layers': 12, 'image_size': 640}
    slow = dataclasses.replace(tiny, vision={**tiny.vision, **vision})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(untrained.SIZES, 'slow', slow)
        return untrained.write_checkpoint(tmp_path_factory.mktemp('slow') / 'slow', size='slow')


def test_a_node_deactivates_and_ends_in_the_middle_of_an_inference(bench, spawn, slow_checkpoint):
    node = spawn(
        'vision_node', model=slow_checkpoint, max_rate='0.0', method='none', use_depth='false'
    )
    bench.listen('visual_tokens')

    def infer():
        """An inference begins; it goes on when this returns."""
        bench.next('visual_tokens', bench.see)
        began = time.monotonic()
        bench.wait(lambda: time.monotonic() - began > 0.3, bench.see)

    infer()
    assert bench.change('vision_node', 'deactivate', bench.see)
    bench.wait(lambda: bench.state('vision_node') == 'inactive', bench.see)
    assert bench.change('vision_node', 'activate', bench.see)
    infer()
    began = time.monotonic()
    assert node.end(signal.SIGINT) == 0, node.output
    assert time.monotonic() - began < WORKER_STOP_S + SLACK_S
    assert 'Traceback' not in node.output
    assert '[WARN]' not in node.output
    assert '[ERROR]' not in node.output
