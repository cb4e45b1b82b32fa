"""Where answers came from: stamps, frames and poses in the map, over real /tf and /tf_static."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('rclpy')

from tosa_ros.ros.memory import Seen
from tosa_ros.ros.places import Places
from tosa_ros.ros.qa_node import QaNode
from tosa_ros.ros.replies import Reply, View, parse_reply
from tosa_ros.ros.topics import TF, TF_STATIC, qos_profile
from tosa_ros.ros.vision_node import VisionNode

MOUNTED = (0.2, 0.0, 1.0, -0.5, 0.5, -0.5, 0.5)  # As camera drivers turn an optical frame.


class Robot:
    """Publishes tf as a robot does that drives along x at 1 m/s: map, odom, base_link, camera."""

    def __init__(self, bench, tf2_msgs):
        self.bench, self.kind = bench, tf2_msgs.TFMessage
        self.moving = bench.node.create_publisher(self.kind, TF, qos_profile('moving'))
        self.still = bench.node.create_publisher(self.kind, TF_STATIC, qos_profile('kept'))

    def mount(self):
        self.still.publish(self.kind(transforms=[self.link('base_link', 'camera', MOUNTED, 0.0)]))

    def drive(self, stamp_s, map_stamp_s=None):
        base = self.link('odom', 'base_link', (stamp_s % 1000.0, 0, 0, 0, 0, 0, 1), stamp_s)
        stamp_s = stamp_s if map_stamp_s is None else map_stamp_s
        odom = self.link('map', 'odom', (5.0, 0, 0, 0, 0, 0, 1), stamp_s)
        self.moving.publish(self.kind(transforms=[base, odom]))

    def link(self, parent, child, numbers, stamp_s):
        from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3

        header = self.bench.header(stamp_s)
        header.frame_id = parent
        x, y, z, *turn = map(float, numbers)
        quaternion = Quaternion(**dict(zip('xyzw', turn, strict=True)))
        transform = Transform(translation=Vector3(x=x, y=y, z=z), rotation=quaternion)
        return TransformStamped(header=header, child_frame_id=child, transform=transform)


@pytest.fixture
def robot(bench, tf2_msgs):
    return Robot(bench, tf2_msgs)


@pytest.fixture
def nodes(node_here, checkpoint):
    """Both nodes; the parameters are qa_node's."""

    def make(**parameters):
        node_here(VisionNode, model=str(checkpoint))
        return node_here(QaNode, model=str(checkpoint), max_new_tokens=2, **parameters)

    return make


def test_an_answer_names_its_frames_and_their_poses(bench, robot, nodes):
    nodes(frames=3, frame_interval_s=0.2)
    robot.mount()

    def pump():
        # Transforms come before and after a frame, which is between them.
        robot.drive(bench.clock())
        bench.see()
        robot.drive(bench.clock())

    def reply():
        one = bench.reply('what is there?', pump)
        return one if one['frames'] == 3 and not one['no_pose'] else None

    one = bench.wait(reply)
    assert one['map_frame'] == 'map'
    stamps = [view['stamp'] for view in one['views']]
    assert stamps == sorted(stamps)
    assert stamps[-1] == one['stamp']
    for view in one['views']:
        assert view['frame_id'] == 'camera'
        # Where the robot was at that time, not at the nearest transform.
        assert view['pose'][0] == pytest.approx(5.0 + view['stamp'] % 1000.0 + 0.2, abs=2e-5)
        assert view['pose'][1:] == pytest.approx(MOUNTED[1:], abs=1e-6)
    partial = [json.loads(message.data) for message in bench.received['answer/partial']]
    assert all(not said['views'] for said in partial if not said['done'])


def test_a_pose_that_is_not_known_is_absent_and_said(bench, robot, nodes):
    nodes()
    reply = bench.reply('what is there?', bench.see)
    assert reply['views'] == [{'stamp': reply['stamp'], 'frame_id': 'camera', 'pose': None}]
    assert (reply['map_frame'], reply['error']) == ('', '')
    assert reply['no_pose'] == "tf does not connect 'camera' to 'map'"
    robot.mount()

    def pump():
        # The map was last seen half a minute ago.
        robot.drive(bench.clock(), bench.clock() - 30.0)
        bench.see()

    def late():
        one = bench.reply('what is there?', pump)
        return one if 'older' in one['no_pose'] else None

    reply = bench.wait(late)
    assert reply['no_pose'].startswith("the nearest transform from 'odom' to 'map' is ")
    assert reply['no_pose'].endswith('s older than the frame')
    assert reply['views'][0]['pose'] is None


def test_without_tf2_msgs_the_answer_says_so(bench, nodes, monkeypatch):
    for name in ('tf2_msgs', 'tf2_msgs.msg'):
        monkeypatch.setitem(sys.modules, name, None)
    nodes()
    reply = bench.reply('what is there?', bench.see)
    assert (reply['error'], reply['views'][0]['pose']) == ('', None)
    assert reply['no_pose'] == 'tf2_msgs is not installed, so that /tf cannot be read'
    assert all(bench.node.count_subscribers(topic) == 0 for topic in (TF, TF_STATIC))


def test_tf_is_read_only_while_someone_asks(bench, nodes, tf2_msgs):
    node = nodes()
    bench.wait(lambda: TF in node.inputs and TF_STATIC in node.inputs)
    bench.stop_listening('answer', 'answer/partial')
    bench.wait(lambda: TF not in node.inputs and TF_STATIC not in node.inputs)


def test_no_map_frame_is_no_pose_and_no_tf(bench, nodes, tf2_msgs):
    node = nodes(map_frame='')
    reply = bench.reply('what is there?', bench.see)
    assert (reply['no_pose'], reply['map_frame'], reply['views'][0]['pose']) == ('', '', None)
    assert 'visual_tokens' in node.inputs
    assert TF not in node.inputs


def seen(stamp, frame_id='camera'):
    return Seen(SimpleNamespace(stamp=stamp), frame_id, 0.0)


def static(parent, child, x):
    transform = SimpleNamespace(
        translation=SimpleNamespace(x=x, y=0.0, z=0.0),
        rotation=SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0),
    )
    stamp = SimpleNamespace(sec=0, nanosec=0)
    header = SimpleNamespace(frame_id=parent, stamp=stamp)
    return SimpleNamespace(
        transforms=[SimpleNamespace(header=header, child_frame_id=child, transform=transform)]
    )


def test_a_pose_once_found_outlives_what_tf_keeps():
    places = Places('map', 0.1)

    def moving(stamp):
        message = static('map', 'camera', float(stamp))
        message.transforms[0].header.stamp.sec = stamp
        return message

    places.add(moving(1))
    places.keep([seen(1.0)])
    for stamp in range(2, 40):
        places.add(moving(stamp))
    places.keep([seen(1.0), seen(39.0)])
    assert [places.pose(seen(at))[0, 3] for at in (1.0, 39.0)] == [1.0, 39.0]
    places.keep([seen(39.0)])
    views, reason = places.views([seen(1.0), seen(39.0)])
    assert (views[0].pose, views[1].pose[0]) == (None, 39.0)
    assert reason.endswith('newer than the frame (1 of 2 frames)')


def test_views_are_read_back_and_hostile_ones_are_no_reply():
    view = View(1.5, 'camera', (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    reply = Reply(id='q', question='what?', text='a cup', views=(view, View(2.0, 'camera')))
    said = json.loads(reply.to_json())
    assert parse_reply(json.dumps(said))['views'] == said['views']
    for views in (
        [1], [[]], [{}], [{'stamp': 1.0, 'frame_id': 'camera'}],
        [said['views'][0] | {'pose': [0.0] * 6}], [said['views'][0] | {'pose': ['x'] * 7}],
        [said['views'][0] | {'pose': [np.nan] * 7}], [said['views'][0] | {'stamp': 'now'}],
    ):  # fmt: skip
        assert parse_reply(json.dumps(said | {'views': views})) is None
