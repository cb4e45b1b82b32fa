"""Three nodes over real DDS: an answer says what is not known for sure of its depth."""

from __future__ import annotations

import numpy as np
import pytest

from tosa_ros.frames import DOUBTS_IN_WORDS, NO_DOUBT, DepthDoubt, Intrinsics
from tosa_ros.ros import conversions

pytest.importorskip('rclpy')

from tosa_ros.ros.depth_node import DepthNode
from tosa_ros.ros.qa_node import QaNode
from tosa_ros.ros.vision_node import VisionNode

COLOUR = Intrinsics(240.0, 240.0, 159.5, 89.5, 320, 180)
# 848x480 beside 1280x720, but smaller: nearly the same shape, and another view.
DEPTH = Intrinsics(106.0, 106.0, 105.5, 59.5, 212, 120)


@pytest.fixture
def robot(bench, node_here, checkpoint):
    """Starts the three nodes; tokens travel by a message."""
    bench.width, bench.height = COLOUR.width, COLOUR.height
    bench.rgb = np.random.default_rng(0).integers(0, 256, (180, 320, 3), dtype=np.uint8)

    def start(**depth_parameters):
        node_here(VisionNode, model=str(checkpoint), max_rate=0.0, sync_slop_s=0.0)
        node_here(QaNode, model=str(checkpoint), max_new_tokens=4)
        node_here(DepthNode, max_rate=0.0, **depth_parameters)

    return start


@pytest.fixture
def look(bench):
    """Publishes one instant as a camera does: colour, depth of 2 m, and calibrations."""

    def publish(depth_frame='camera', depth_camera=None, depth=True):
        header = bench.header()
        info = conversions.camera_info_message
        image = conversions.image_message
        bench.publisher('camera_info').publish(info(COLOUR, header))
        bench.publisher('image').publish(image(bench.rgb, 'rgb8', header))
        header.frame_id = depth_frame
        if depth_camera is not None:
            bench.publisher('depth_camera_info').publish(info(depth_camera, header))
        if depth:
            raw = np.full((DEPTH.height, DEPTH.width), 2000, np.uint16)
            bench.publisher('sensor_depth').publish(image(raw, '16UC1', header))

    return publish


def note_of_an_answer(bench, look, note):
    """Asks until depth is there and the note is this one; at the start images go without."""

    def asked():
        reply = bench.reply('what is there?', look)
        assert reply['error'] == ''
        return reply['spatial'] == 'metric' and reply['note'] == note

    bench.wait(asked)
    return True


def test_depth_in_another_frame_is_said_to_be_taken_as_aligned(bench, robot, look):
    robot()
    bench.listen('/rosout')
    words = DOUBTS_IN_WORDS[DepthDoubt.ALIGNED]
    assert note_of_an_answer(bench, lambda: look('depth_optical'), words)
    bench.wait(lambda: "'depth_optical'" in bench.health().get('vision_node', (0, ''))[1])
    pixels = "212x120 pixels, in the frame 'depth_optical'"
    assert bench.told_once('depth_node', f'depth is made of /sensor_depth: 16UC1, {pixels}')
    assert bench.told_once('vision_node', f'depth comes from /depth: 32FC1, {pixels}')


def test_depth_with_a_calibration_of_its_own_is_said_to_be_taken_as_aligned(bench, robot, look):
    robot()
    words = DOUBTS_IN_WORDS[DepthDoubt.ALIGNED]
    assert note_of_an_answer(bench, lambda: look(depth_camera=DEPTH), words)
    bench.wait(
        lambda: "is not the colour camera's" in bench.health().get('depth_node', (0, ''))[1], look
    )


def test_aligned_depth_gives_no_note(bench, robot, look):
    robot()
    own = COLOUR.scaled(DEPTH.width, DEPTH.height)
    assert note_of_an_answer(bench, lambda: look(depth_camera=own), '')
    # Once both calibrations are known, nobody listens to the depth camera's.
    bench.wait(lambda: bench.node.count_subscribers('/depth_camera_info') == 0, look)


def test_registered_depth_gives_no_note_where_its_place_is_known(bench, robot, look):
    robot(register=True, extrinsic=[0.02, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    assert note_of_an_answer(bench, lambda: look('depth_optical', DEPTH), '')


def test_registered_depth_of_an_unknown_place_says_so(bench, robot, look):
    robot(register=True, extrinsic=[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    words = DOUBTS_IN_WORDS[DepthDoubt.PLACE]
    assert note_of_an_answer(bench, lambda: look('depth_optical', DEPTH), words)


def test_depth_in_other_units_is_doubted_until_they_are_told(bench, robot, look):
    from rclpy.parameter import Parameter

    robot(depth_scale=100.0)
    assert note_of_an_answer(bench, look, DOUBTS_IN_WORDS[DepthDoubt.SCALE])
    [node] = [n for n in bench.executor.get_nodes() if n.get_name() == 'depth_node']
    node.set_parameters([Parameter('depth_scale', value=1000.0)])
    assert note_of_an_answer(bench, look, '')


def test_a_drivers_depth_that_skips_the_depth_node_has_units_too(bench, node_here, checkpoint):
    from rclpy.parameter import Parameter

    from tosa_ros.ros.token_cloud import tokens_from_cloud

    node = node_here(VisionNode, model=str(checkpoint), max_rate=0.0, depth_scale=10000.0)
    raw = np.full((bench.height, bench.width), 20000, np.uint16)
    depth = conversions.image_message(raw, '16UC1', bench.header())

    def far(metres, doubts):
        def wanted(cloud):
            tokens = tokens_from_cloud(cloud)
            return tokens.spatial == 'metric' and tokens.doubts == doubts

        cloud = bench.next('visual_tokens', lambda: bench.see(depth=depth), wanted)
        return np.nanmax(tokens_from_cloud(cloud).xyz[:, 2]) == pytest.approx(metres)

    assert far(2.0, NO_DOUBT)
    node.set_parameters([Parameter('depth_scale', value=1000.0)])
    assert far(20.0, DepthDoubt.SCALE)


def test_depth_that_its_units_put_out_of_range_is_reported(bench, robot, look):
    robot(depth_scale=80.0)
    bench.listen('depth')
    said = 'its median is 25 m) and is left out: is depth_scale, 80 units a metre, right?'
    bench.wait(lambda: said in bench.health().get('depth_node', (0, ''))[1], look)


def test_estimated_depth_is_said_to_be_no_sensors(bench, robot, look):
    robot(source='monocular')
    words = DOUBTS_IN_WORDS[DepthDoubt.ESTIMATED]

    def asked():
        reply = bench.reply('what is there?', lambda: look(depth=False))
        return reply['spatial'] == 'metric' and words in reply['note']

    bench.wait(asked)
