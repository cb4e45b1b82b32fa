"""Depth from colour alone, in processes: an estimate reaches vision_node as what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tosa_ros import assets, messages

pytest.importorskip('rclpy')
pytest.importorskip('open3d')

EMBEDDED = Path(assets.__file__).parent


@pytest.mark.parametrize(
    ('model', 'topic', 'spatial'),
    [
        ('tiny-depth-metric', 'depth', 'metric'),
        ('tiny-depth-relative', 'relative_depth', 'levels'),
    ],
)
def test_metres_are_published_as_metres_and_relative_depth_never_is(
    bench, spawn, checkpoint, model, topic, spatial
):
    pytest.importorskip('open3d')
    from tosa_ros.ros.token_cloud import tokens_from_cloud
    from tosa_ros.synthetic import single

    frame = single('test', 3, size=128, questions=0).frame
    bench.rgb, (bench.height, bench.width) = frame.rgb, frame.rgb.shape[:2]
    nodes = [
        spawn('depth_node', source='monocular', depth_model=EMBEDDED / model, max_rate='0.0'),
        spawn('vision_node', model=checkpoint, max_rate='0.0', depth_timeout_s='20.0'),
    ]
    see = lambda: bench.see(depth=False)  # noqa: E731
    cloud = bench.next(
        'visual_tokens', see, lambda cloud: tokens_from_cloud(cloud).spatial == spatial
    )
    assert np.isfinite(tokens_from_cloud(cloud).xyz).any() == (spatial == 'metric')
    depth = messages.depth_from_message(bench.next(topic, see))
    assert depth.shape == frame.depth_m.shape
    published = {name: bench.node.count_publishers(name) for name in ('depth', 'relative_depth')}
    assert published == {'depth': 0, 'relative_depth': 0} | {topic: 1}
    if spatial == 'metric':
        assert np.median(np.abs(depth / frame.depth_m - 1)) < 0.2
    else:
        assert (depth.min(), depth.max()) == (0.0, 1.0)
        # 1 is nearest.
        assert np.corrcoef(depth.ravel(), 1 / frame.depth_m.ravel())[0, 1] > 0.7
    bench.wait(lambda: 'depth_node' in bench.health())  # Diagnostics come once a second.
    assert bench.health()['depth_node'][2]['model'] == model
    for node in nodes:
        assert node.end() == 0, node.output
        assert 'Traceback' not in node.output
