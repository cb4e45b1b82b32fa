"""Each camera of config/cameras.yaml, as its driver publishes: simulated, through real nodes."""

from __future__ import annotations

import numpy as np
import pytest

from tosa_ros.errors import RosError
from tosa_ros.ros.bringup import Graph
from tosa_ros.ros.cameras import camera_names

pytest.importorskip('rclpy')

from benchmarks.ros.drivers import EXTRINSIC, FAR_M, LAYOUTS, NEAR_M, Driver, topics_of
from tosa_ros.ros.depth_node import DepthNode
from tosa_ros.ros.token_cloud import tokens_from_cloud
from tosa_ros.ros.vision_node import VisionNode


def test_every_camera_of_the_table_has_a_layout():
    assert set(camera_names()) == set(LAYOUTS)


@pytest.mark.parametrize('name', LAYOUTS)
def test_a_camera_is_understood_by_its_name(bench, node_here, checkpoint, name):
    # A quarter of what the drivers send, so that a busy machine keeps up with their rates.
    layout = LAYOUTS[name].scaled(4)
    # What tf says of a real one is in test_static_extrinsic.
    extrinsic = None if layout.aligned else EXTRINSIC
    given = {'model': str(checkpoint), 'keep': 1.0, 'extrinsic': extrinsic}
    graph = Graph.of({'camera': name, **given})
    kinds = {'depth_node': DepthNode, 'vision_node': VisionNode}
    for node in graph.nodes[:-1]:
        node_here(kinds[node], options={'cli_args': graph.arguments()}, **graph.parameters(node))
    with Driver(bench.node, layout, topics_of(name)):
        cloud = bench.next(
            'visual_tokens',
            where=lambda cloud: layout.depth is None or tokens_from_cloud(cloud).spatial != 'none',
        )
        # From the first that has depth, all have.
        clouds = bench.received['visual_tokens']
        start = clouds.index(cloud)
        bench.wait(lambda: len(clouds) >= start + 5)
    for cloud in clouds[start:]:
        tokens = tokens_from_cloud(cloud)
        assert cloud.header.frame_id == layout.colour_frame
        assert tokens.spatial == ('none' if layout.depth is None else 'metric')
        if layout.depth is not None:
            check_places(tokens, layout.colour.width)


def check_places(tokens, width):
    """The box is where colour sees it, and the wall around it."""
    seen = np.isfinite(tokens.xyz[:, 2])  # Above and below a wide image is nothing.
    z, u = tokens.xyz[seen, 2], tokens.uv[seen, 0]
    third, margin = width / 3, width / 24
    inside = (u > third + margin) & (u < 2 * third - margin)
    outside = (u < third - margin) | (u > 2 * third + margin)
    assert inside.any()
    assert outside.any()
    np.testing.assert_allclose(z[inside], NEAR_M, rtol=0.02)
    np.testing.assert_allclose(z[outside], FAR_M, rtol=0.02)


def test_a_camera_of_one_s_own_and_what_is_given_wins(tmp_path):
    file = tmp_path / 'mine.yaml'
    file.write_text(
        'front:\n  image_topic: /front/image\n  depth_topic: /front/depth\n'
        '  depth_scale: 10000\n  rectified: true\n  extrinsic: [0.1, 0, 0, 0, 0, 0, 1]\n'
    )
    graph = Graph.of({'camera': f'{file}:front', 'depth_topic': '/other', 'keep': '0.5'})
    assert (graph.image_topic, graph.depth_topic) == ('/front/image', '/other')
    assert graph.chosen == {
        'depth_scale': 10000.0, 'rectified': True, 'keep': 0.5,
        'extrinsic': (0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    }  # fmt: skip
    assert graph.parameters('depth_node')['depth_scale'] == 10000.0


@pytest.mark.parametrize(
    ('text', 'camera', 'said'),
    [
        ('', 'kinect', 'camera: kinect; wanted one of realsense, '),
        ('a: {}', '{file}:b', 'mine.yaml:b; wanted one of a, or FILE.yaml:NAME'),
        ('a: {colour: x}', '{file}:a', 'mine.yaml:a: colour is not known; wanted driver, '),
        ('a: {sync_slop_s: 7}', '{file}:a', "sync_slop_s: '7'; wanted a number, 0 to 1 s"),
        ('a: {depth_source: lidar}', '{file}:a', "depth_source: 'lidar'; wanted one of sensor"),
        ('- a', '{file}:a', 'wanted rows NAME'),
        ('a: [', '{file}:a', 'not YAML'),
        ('a: {}', '/nowhere.yaml:a', '/nowhere.yaml: no such file'),
    ],
)
def test_a_camera_that_is_not_understood_is_one_line(tmp_path, text, camera, said):
    file = tmp_path / 'mine.yaml'
    file.write_text(text)
    with pytest.raises(RosError) as refused:
        Graph.of({'camera': camera.format(file=file)})
    assert said in str(refused.value)
    assert '\n' not in str(refused.value)
