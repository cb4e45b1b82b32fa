"""depth_node over real DDS: a sensor's depth in, metres out; an estimate of colour."""

from __future__ import annotations

import io
import struct
from array import array
from functools import partial

import numpy as np
import pytest
from PIL import Image as PilImage

from tosa_ros import messages
from tosa_ros.frames import Intrinsics
from tosa_ros.ros import conversions

pytest.importorskip('rclpy')

K = Intrinsics(120.0, 120.0, 79.5, 59.5, 160, 120)


@pytest.fixture
def depth_node(node_here):
    from tosa_ros.ros.depth_node import DepthNode

    return partial(node_here, DepthNode)


def raw_depth(bench, value=2000):
    raw = np.full((bench.height, bench.width), value, np.uint16)
    raw[:10] = 0
    return conversions.image_message(raw, '16UC1', bench.header(12.5))


def test_sensor_depth_in_metres_with_the_stamp_of_the_input(bench, depth_node):
    depth_node()
    publisher = bench.publisher('sensor_depth', reliable=False)
    message = bench.next('depth', lambda: publisher.publish(raw_depth(bench)))
    assert message.encoding == '32FC1'
    assert (message.header.frame_id, messages.stamp_s(message.header.stamp)) == ('camera', 12.5)
    depth = messages.depth_from_message(message)
    assert np.isnan(depth[:10]).all()
    assert (depth[10:] == 2.0).all()


def test_without_subscribers_the_node_subscribes_to_nothing(bench, depth_node):
    node = depth_node()
    publisher = bench.publisher('sensor_depth')
    bench.wait(lambda: 'no subscribers' in bench.state('depth_node'))
    bench.wait(lambda: publisher.get_subscription_count() == 0)
    bench.listen('depth')
    bench.wait(lambda: publisher.get_subscription_count() == 1)
    bench.stop_listening('depth')
    bench.wait(lambda: publisher.get_subscription_count() == 0)
    assert node.active


def test_a_camera_on_its_own_output_is_refused_unless_the_node_is_in_a_namespace(
    bench, depth_node
):
    remapped = ['--ros-args', '-r', 'sensor_depth:=/depth']
    depth_node(options={'cli_args': remapped})
    bench.wait(lambda: '/depth is both' in bench.health().get('depth_node', (0, ''))[1])
    assert bench.state('depth_node') == 'unconfigured'
    depth_node(options={'cli_args': remapped, 'namespace': 'robot'})
    bench.wait(lambda: bench.state('robot/depth_node').startswith('active'))


def test_compressed_depth_next_to_the_remapped_topic(bench, depth_node):
    from sensor_msgs.msg import CompressedImage

    depth_node(depth_transport='compressedDepth', depth_scale=2000.0)
    raw, stream = np.full((bench.height, bench.width), 3000, np.uint16), io.BytesIO()
    PilImage.fromarray(raw).save(stream, 'PNG')
    message = CompressedImage(header=bench.header(), format='16UC1; compressedDepth png')
    message.data = array('B', struct.pack('<iff', 0, 0, 0) + stream.getvalue())
    publisher = bench.node.create_publisher(CompressedImage, 'sensor_depth/compressedDepth', 1)
    got = bench.next('depth', lambda: publisher.publish(message))
    assert messages.depth_from_message(got)[5, 5] == 1.5
    bench.node.destroy_publisher(publisher)


def test_registration_to_the_colour_camera(bench, depth_node):
    depth_node(register=True, rectified=True, extrinsic=[0.2, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    half = K.scaled(80, 60)

    def pump():
        for name, k, frame_id in (
            ('camera_info', half, 'colour_camera'),
            ('depth_camera_info', K, 'camera'),
        ):
            info = conversions.camera_info_message(k, bench.header())
            info.header.frame_id = frame_id
            if name == 'camera_info':
                info.k = [0.0] * 9  # P holds.
            bench.publisher(name).publish(info)
        bench.publisher('sensor_depth').publish(raw_depth(bench))

    message = bench.next('depth', pump)
    assert message.header.frame_id == 'colour_camera'
    depth = messages.depth_from_message(message)
    assert depth.shape == (60, 80)
    # 0.2 m at 2 m is 12 pixels of the larger image, 6 of the smaller: nothing was seen there.
    assert np.isnan(depth[:, :5]).all()
    assert (depth[10:, 8:] == 2.0).all()


@pytest.fixture(scope='module')
def estimator(tmp_path_factory):
    """A Depth Anything checkpoint with random weights."""
    import torch
    from transformers import (
        DepthAnythingConfig,
        DepthAnythingForDepthEstimation,
        Dinov2Config,
        DPTImageProcessorPil,
    )

    path = tmp_path_factory.mktemp('depth') / 'tiny'
    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        patch_size=14,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
    )
    torch.manual_seed(0)
    DepthAnythingForDepthEstimation(config).save_pretrained(path)
    size = {'height': 28, 'width': 28}
    DPTImageProcessorPil(size=size, ensure_multiple_of=14).save_pretrained(path)
    return path


def test_an_estimate_of_colour_is_relative(bench, depth_node, estimator):
    depth_node(source='monocular', depth_model=str(estimator))
    picture = conversions.image_message(bench.rgb, 'rgb8', bench.header(3.25))
    message = bench.next('relative_depth', lambda: bench.publisher('image').publish(picture))
    assert messages.stamp_s(message.header.stamp) == 3.25
    depth = messages.depth_from_message(message)
    assert depth.shape == (bench.height, bench.width)
    assert (depth.min(), depth.max()) == (0.0, 1.0)


def test_the_authors_weights_of_depth_anything(bench, depth_node, tmp_path):
    import torch
    from depth_models import original_depth_anything

    name = 'depth_anything_v2_metric_hypersim_vits.pth'
    torch.save(original_depth_anything(tmp_path)[0], tmp_path / name)
    depth_node(source='monocular', depth_model=str(tmp_path / name))
    picture = conversions.image_message(bench.rgb, 'rgb8', bench.header())
    message = bench.next('depth', lambda: bench.publisher('image').publish(picture))
    depth = messages.depth_from_message(message)
    assert depth.shape == (bench.height, bench.width)
    assert 0 < np.nanmin(depth) < np.nanmax(depth) < 20


def test_a_model_that_needs_a_sensor_is_refused(bench, depth_node, tmp_path):
    from depth_models import write_prompted

    bench.listen('/rosout')
    node = depth_node(source='monocular', depth_model=str(write_prompted(tmp_path)))
    said = "refines a sensor's depth, and depth_node estimates"
    bench.wait(lambda: said in bench.health().get('depth_node', (0, ''))[1])
    assert bench.state('depth_node') == 'unconfigured'
    assert bench.told_once('depth_node', said)
    assert not node.active


def test_the_embedded_estimator_knows_metres(bench, depth_node):
    pytest.importorskip('open3d')
    from tosa_ros.synthetic import single

    frame = single('test', 3, size=128, questions=0).frame
    depth_node(source='monocular')
    picture = conversions.image_message(frame.rgb, 'rgb8', bench.header())
    message = bench.next('depth', lambda: bench.publisher('image').publish(picture))
    estimate = messages.depth_from_message(message)
    assert np.median(np.abs(estimate / frame.depth_m - 1)) < 0.2


def test_an_estimator_that_is_not_there_fails_to_configure_and_says_why(bench, depth_node):
    bench.listen('/rosout')
    node = depth_node(source='monocular', depth_model='/nowhere/model')
    bench.wait(lambda: '/nowhere/model' in bench.health().get('depth_node', (0, ''))[1])
    assert bench.health()['depth_node'][0] == 2
    assert bench.state('depth_node') == 'unconfigured'
    assert bench.told_once('depth_node', '/nowhere/model')
    assert not node.active


def test_colour_on_the_depth_topic_is_reported_once(bench, depth_node):
    bench.listen('/rosout', 'depth')
    depth_node()
    wrong = conversions.image_message(bench.rgb, 'rgb8', bench.header())
    bench.wait(
        lambda: 'is not depth' in bench.health().get('depth_node', (0, ''))[1],
        lambda: bench.publisher('sensor_depth').publish(wrong),
    )
    assert bench.told_once('depth_node', 'is not depth')
    publisher = bench.publisher('sensor_depth')
    assert bench.next('depth', lambda: publisher.publish(raw_depth(bench)))
