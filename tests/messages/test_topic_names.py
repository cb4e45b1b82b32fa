"""What a topic's name says of its images, word by word."""

from __future__ import annotations

import pytest

from tosa_ros.messages.topic_names import (
    camera_infos_beside,
    says_depth,
    says_other_than_depth,
)


@pytest.mark.parametrize(
    ('topic', 'word'),
    [
        ('/camera/infra1/image_rect_raw', 'infra'),
        ('/device_0/sensor_0/Infrared_1/image/data', 'infrared'),
        ('/k4a/ir/image_raw', 'ir'),
        ('/leftIR', 'ir'),
        ('/IRCamera/image', 'ir'),
        ('/ir2/image_raw/compressedDepth', 'ir'),
        ('/thermal/image_raw', 'thermal'),
        ('/robot/thermalCamera/image', 'thermal'),
        ('/segmentation/labels', 'segmentation'),
        ('/seg/labels', 'seg'),
        ('/yolo/label_image', 'label'),
        ('/isaac/semantic_segmentation', 'semantic'),
        ('/sam/mask', 'mask'),
        ('/camera/depth/confidence', 'confidence'),
        ('/zed/zed_node/confidence/confidence_map', 'confidence'),
        ('/stereo/disparity', 'disparity'),
        ('/airsim/SurfaceNormals', 'normals'),
        ('/ouster/reflec_image', 'reflec'),
    ],
)
def test_names_that_say_something_else(topic, word):
    assert says_other_than_depth(topic) == word


@pytest.mark.parametrize(
    'topic',
    [
        '/camera/depth/image_rect_raw',
        '/third/depth',
        '/mirror/depth',
        '/air/drone/depth',
        '/sirius/depth/image',
        '/unmasked/depth',
        '/segway/depth/image_raw',
        '/birds_eye/depth',
        '/depth_to_rgb/image_raw',
        '/device_0/sensor_0/Depth_0/image/data',
        '/robot/frontDepth',
    ],
)
def test_names_that_say_depth(topic):
    assert says_other_than_depth(topic) == ''
    assert says_depth(topic)


def test_the_transport_is_not_the_name():
    assert not says_depth('/camera/image_raw/compressedDepth')
    assert says_depth('/camera/depth/image_raw/compressedDepth')


def test_where_a_calibration_may_be():
    assert camera_infos_beside('/cam/depth/image_raw/compressedDepth') == (
        '/cam/depth/camera_info',
        '/cam/info/camera_info',
    )
    viewer = camera_infos_beside('/device_0/sensor_0/Depth_0/image/data')
    assert viewer[1] == '/device_0/sensor_0/Depth_0/info/camera_info'
