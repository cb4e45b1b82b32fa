"""answer/evidence: the tokens that an answer looked at, in the camera's frame or in the map."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('rclpy')

from tosa_ros.errors import ModelError
from tosa_ros.frames import Frame, Intrinsics
from tosa_ros.messages import stamp_s
from tosa_ros.ros.evidence_cloud import evidence_cloud
from tosa_ros.ros.memory import Seen
from tosa_ros.ros.places import Places
from tosa_ros.ros.qa_node import QaNode
from tosa_ros.ros.token_cloud import tokens_from_cloud
from tosa_ros.ros.topics import TF_STATIC, qos_profile
from tosa_ros.ros.vision_node import VisionNode
from tosa_ros.vlm import Answerer, VisionEncoder

QUESTION = 'what is there?'
# The camera looks along the map's x, a metre above the ground.
MOUNTED = (2.0, 3.0, 1.0, -0.5, 0.5, -0.5, 0.5)
FIELDS = ['x', 'y', 'z', 'rgb', 'weight', 'size', 'u', 'v', 'view']


def points(cloud):
    kinds = {7: '<f4', 4: '<u2'}
    layout = {
        'names': [field.name for field in cloud.fields],
        'formats': [kinds[field.datatype] for field in cloud.fields],
        'offsets': [field.offset for field in cloud.fields],
        'itemsize': cloud.point_step,
    }
    return np.frombuffer(bytes(cloud.data), np.dtype(layout))


def mount(bench, tf2_msgs, child='camera'):
    """Publishes where the camera is in the map, once and for all."""
    from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3

    x, y, z, *turn = MOUNTED
    transform = Transform(
        translation=Vector3(x=x, y=y, z=z),
        rotation=Quaternion(**dict(zip('xyzw', turn, strict=True))),
    )
    header = bench.header()
    header.frame_id = 'map'
    link = TransformStamped(header=header, child_frame_id=child, transform=transform)
    publisher = bench.node.create_publisher(tf2_msgs.TFMessage, TF_STATIC, qos_profile('kept'))
    publisher.publish(tf2_msgs.TFMessage(transforms=[link]))


@pytest.fixture
def nodes(node_here, checkpoint):
    def make(**parameters):
        node_here(VisionNode, model=str(checkpoint))
        return node_here(QaNode, model=str(checkpoint), max_new_tokens=2, **parameters)

    return make


def evidence_for(bench, where=lambda reply: reply['spatial'] == 'metric'):
    """A question's answer and the evidence of it."""

    def both():
        reply = bench.reply(QUESTION, bench.see)
        return (reply, bench.wait(lambda: of(reply['stamp']))) if where(reply) else None

    def of(stamp):
        clouds = bench.received['answer/evidence']
        return next((one for one in clouds if abs(stamp_s(one.header.stamp) - stamp) < 1e-6), None)

    bench.listen('answer/evidence')
    return bench.wait(both)


def test_it_is_what_the_model_looked_at_in_the_camera_s_frame(bench, nodes, checkpoint):
    nodes(evidence_tokens=5)
    bench.listen('visual_tokens')
    reply, cloud = evidence_for(bench)
    [seen] = [
        tokens
        for tokens in map(tokens_from_cloud, bench.received['visual_tokens'])
        if tokens.stamp == reply['stamp']
    ]
    assert (cloud.header.frame_id, reply['views'][0]['pose']) == ('camera', None)
    assert [field.name for field in cloud.fields] == FIELDS
    found = points(cloud)
    answer = Answerer.from_pretrained(checkpoint).answer(
        [seen], QUESTION, max_new_tokens=2, evidence=True
    )
    wanted = answer.evidence.top(5)
    assert answer.text == reply['text']
    np.testing.assert_allclose(found['weight'], [one.weight for one in wanted], atol=1e-5)
    places = [one.token for one in wanted]
    xyz = np.stack([found[axis] for axis in 'xyz'], axis=1)
    np.testing.assert_allclose(xyz, seen.xyz[places], atol=1e-5)
    np.testing.assert_array_equal(found['size'], seen.size[places])
    np.testing.assert_array_equal(found['rgb'].view('<u4') & 255, seen.rgb[places][:, 2])


def test_it_is_in_the_map_where_tf_knows_the_camera(bench, nodes, tf2_msgs):
    mount(bench, tf2_msgs)
    nodes(frames=2, frame_interval_s=0.0, evidence_tokens=1000)
    reply, cloud = evidence_for(
        bench, lambda reply: reply['spatial'] == 'metric' and reply['frames'] == 2
    )
    assert (cloud.header.frame_id, reply['no_pose']) == ('map', '')
    found = points(cloud)
    assert len(found) == reply['tokens']
    assert {*found['view'].tolist()} == {0, 1}
    assert found['weight'].sum() == pytest.approx(1.0, abs=1e-4)
    assert (np.diff(found['weight']) <= 0).all()
    # The wall is two metres ahead, which is along x.
    np.testing.assert_allclose(found['x'][np.isfinite(found['x'])], 4.0, atol=1e-4)


def test_it_costs_nothing_while_nobody_subscribes(bench, nodes, monkeypatch):
    asked = []
    stream = Answerer.stream

    def told(self, *args, **options):
        asked.append(options.get('evidence', False))
        return stream(self, *args, **options)

    node = nodes()
    bench.wait(lambda: node.active)
    monkeypatch.setattr(Answerer, 'stream', told)
    bench.reply(QUESTION, bench.see)
    assert asked == [False]
    bench.listen('answer/evidence')
    bench.wait(lambda: bench.reply(QUESTION, bench.see) and asked[-1])
    bench.stop_listening('answer/evidence')
    bench.wait(lambda: bench.reply(QUESTION, bench.see) and not asked[-1])


def test_evidence_alone_wakes_nobody(bench, nodes):
    node = nodes()
    bench.listen('answer/evidence')
    bench.wait(lambda: 'visual_tokens' in node.inputs)
    bench.stop_listening('answer', 'answer/partial')
    bench.wait(lambda: 'visual_tokens' not in node.inputs)
    assert node.listeners('answer/evidence') == 1


def test_a_model_whose_attention_is_hidden_answers_and_says_so(bench, nodes, monkeypatch):
    stream = Answerer.stream

    def hidden(self, *args, evidence=False, **options):
        if evidence:
            raise ModelError('evidence: the attention of 0 of 4 layers can be seen')
        return stream(self, *args, **options)

    monkeypatch.setattr(Answerer, 'stream', hidden)
    nodes()
    bench.listen('answer/evidence')
    reply = bench.reply(QUESTION, bench.see)
    assert reply['error'] == ''
    bench.wait(lambda: '0 of 4 layers can be seen' in bench.health().get('qa_node', (0, ''))[1])
    assert bench.received['answer/evidence'] == []


def test_of_frames_without_a_pose_the_newest_is_shown(checkpoint):
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    camera = Intrinsics(60.0, 60.0, 31.5, 23.5, 64, 48)
    depth = np.full((48, 64), 2.0, np.float32)
    tokens = VisionEncoder.from_pretrained(checkpoint).encode(
        [Frame(rgb=rgb, depth_m=depth, intrinsics=camera, stamp=stamp) for stamp in (1.0, 2.0)]
    )
    answer = Answerer.from_pretrained(checkpoint).answer(tokens, QUESTION, evidence=True)
    frames = [Seen(one, 'camera', 0.0) for one in tokens]
    for places in (Places('map', 0.1), Places('', 0.1)):
        cloud = evidence_cloud(frames, answer.evidence, places, 1000)
        found = points(cloud)
        assert cloud.header.frame_id == 'camera'
        assert {*found['view'].tolist()} == {1}
        assert found['weight'].sum() == pytest.approx(answer.evidence.weights[1].sum(), abs=1e-5)
        assert len(found) == len(tokens[1])
        seen = np.isfinite(found['z'])
        np.testing.assert_allclose(found['z'][seen], 2.0, atol=1e-5)
