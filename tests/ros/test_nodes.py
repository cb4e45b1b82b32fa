"""vision_node and qa_node in this process: life cycle, parameters, hand-over, sim time."""

from __future__ import annotations

import itertools
import json
import shutil

import numpy as np
import pytest
from videos import KEY_EVERY, colour, video_packets

from tosa_ros import messages
from tosa_ros.errors import RosError
from tosa_ros.merging import NoMerging, ToSA
from tosa_ros.ros import conversions

pytest.importorskip('rclpy')

from tosa_ros.ros.qa_node import QaNode
from tosa_ros.ros.token_cloud import tokens_from_cloud
from tosa_ros.ros.topics import reliability
from tosa_ros.ros.vision_node import VisionNode
from tosa_ros.vlm import Answerer


@pytest.fixture
def vision(node_here, checkpoint):
    def make(**parameters):
        return node_here(VisionNode, **{'model': str(checkpoint), 'max_rate': 0.0, **parameters})

    return make


@pytest.fixture
def qa(node_here, checkpoint):
    def make(*args, **parameters):
        parameters = {'model': str(checkpoint), 'max_new_tokens': 6, **parameters}
        return node_here(QaNode, *args, **parameters)

    return make


def test_tokens_are_those_of_the_encoder(bench, vision, checkpoint):
    from tosa_ros.frames import Frame, Intrinsics
    from tosa_ros.vlm import VisionEncoder

    vision(keep=0.5, alpha='uniform', merge_at='every')
    message = bench.next(
        'visual_tokens',
        lambda: bench.see(stamp_s=8.5),
        lambda cloud: tokens_from_cloud(cloud).spatial == 'metric',
    )
    assert message.header.frame_id == 'camera'
    got = tokens_from_cloud(message)
    frame = Frame(
        rgb=bench.rgb,
        depth_m=bench.depth_m,
        intrinsics=Intrinsics(120.0, 120.0, 79.5, 59.5, 160, 120),
        stamp=8.5,
    )
    method = ToSA(keep=0.5, alpha='uniform', merge_at='every')
    [wanted] = VisionEncoder.from_pretrained(checkpoint, merging=method).encode([frame])
    assert len(got) == 18
    np.testing.assert_array_equal(got.embeddings.numpy(), wanted.embeddings.numpy())
    for name in ('size', 'source', 'uv', 'rgb', 'xyz'):
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name), err_msg=name)
    assert (got.before, got.stamp) == (36, 8.5)


def test_an_exported_tower_sees_in_place_of_the_models(bench, vision, checkpoint, tmp_path):
    import torch
    from rclpy.parameter import Parameter

    from tosa_ros.vlm import VisionEncoder
    from tosa_ros.vlm.exported import export_tower

    method = ToSA(keep=0.5)
    encoder = VisionEncoder.from_pretrained(checkpoint, merging=method, dtype=torch.float32)
    export_tower(encoder, tmp_path / 'tower.pt2', 'torch')
    node = vision(keep=0.5, tower=str(tmp_path / 'tower.pt2'))
    message = bench.next('visual_tokens', lambda: bench.see(stamp_s=8.5))
    assert len(tokens_from_cloud(message)) == 18
    refused = node.set_parameters_atomically([Parameter('keep', value=0.25)])
    assert 'tower.pt2: merges by --method tosa --keep 0.5' in refused.reason


def test_a_setting_that_the_method_does_not_have_is_refused(bench, vision):
    from rclpy.parameter import Parameter

    node = vision(method='tome', keep=0.5)
    bench.wait(lambda: node.active)

    def change(**values):
        result = node.set_parameters_atomically([Parameter(n, value=v) for n, v in values.items()])
        return result.reason

    assert change(alpha='uniform') == (
        'alpha: the method tome has no such setting; wanted one of tosa for it'
    )
    assert 'keep=0.5 and r=3 are both given' in change(r='3')
    assert 'a list of 2 weights for an encoder of 4' in change(method='tosa', alpha='0.1,0.9')
    assert 'layer 7 of an encoder whose layers are 0..3' in change(merge_at=[2, 7])
    assert node.values()['method'] == 'tome'
    assert change(method='tosa', alpha=0.75, length_scale_m=1, merge_at=[1, 3]) == ''
    encoder = node._encoder
    assert encoder.merging == ToSA(keep=0.5, alpha=0.75, length_scale_m=1.0, merge_at=(1, 3))
    # What was chosen for another method waits until that one is back.
    assert change(method='none') == ''
    assert encoder.merging == NoMerging()
    assert change(method='tosa') == ''
    assert encoder.merging.alpha == 0.75


def test_a_node_does_not_start_with_a_setting_that_its_method_does_not_have(ros):
    from rclpy.parameter import Parameter

    given = {'method': 'pitome', 'ward': 1.0, 'autostart': False}
    overrides = [Parameter(name, value=value) for name, value in given.items()]
    with pytest.raises(RosError, match='parameter ward: the method pitome has no such setting'):
        VisionNode(parameter_overrides=overrides)


def test_the_merge_image_is_made_when_someone_looks(bench, vision):
    vision(use_depth=False)
    message = bench.next('merge_image', bench.see)
    picture = messages.rgb_from_message(message)
    assert picture.shape == bench.rgb.shape
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) <= 9 + 2  # tokens and their borders
    bench.stop_listening('merge_image')
    bench.wait(lambda: 'no subscribers' in bench.state('vision_node'), bench.see)


def test_compressed_colour(bench, vision):
    from sensor_msgs.msg import CompressedImage

    vision(image_transport='compressed', use_depth=False)
    jpeg = conversions.compressed_image_message(bench.rgb, bench.header())
    publisher = bench.node.create_publisher(CompressedImage, 'image/compressed', 1)
    assert bench.next('visual_tokens', lambda: publisher.publish(jpeg)).width == 9
    bench.node.destroy_publisher(publisher)


def test_video_is_decoded_and_paired_by_its_own_stamps(bench, vision):
    """As CompressedImage, for whose video no other package is needed."""
    from sensor_msgs.msg import CompressedImage

    pytest.importorskip('av')
    vision(image_transport='compressed', use_depth=False)
    publisher = bench.node.create_publisher(CompressedImage, 'image/compressed', 100)
    packets = itertools.cycle(video_packets(2 * KEY_EVERY, b_frames=2))

    def publish():
        packet = next(packets)
        header = bench.header(stamp_s=100.0 + packet.index)
        publisher.publish(CompressedImage(header=header, format='h264', data=packet.data))

    seen = set()
    for _ in range(6):
        cloud = bench.next('visual_tokens', publish)
        tokens = tokens_from_cloud(cloud)
        index = cloud.header.stamp.sec - 100
        seen.add(index)
        np.testing.assert_allclose(tokens.rgb.mean(axis=0), colour(index), atol=8)
    assert len(seen) > 1
    assert tokens.before > len(tokens)
    bench.node.destroy_publisher(publisher)


@pytest.mark.parametrize('kind', [VisionNode, QaNode])
def test_a_model_that_cannot_load_is_reported_and_can_be_fixed(
    bench, node_here, checkpoint, tmp_path, kind
):
    bench.listen('/rosout')
    path = tmp_path / 'model'
    node = node_here(kind, model=str(path))
    name = node.get_name()
    bench.wait(lambda: str(path) in bench.health().get(name, (0, ''))[1])
    assert bench.health()[name][0] == 2
    assert bench.state(name) == 'unconfigured'
    shutil.copytree(checkpoint, path)
    weights = path / 'model.safetensors'
    weights.write_bytes(weights.read_bytes()[:1000])
    assert not bench.change(name, 'configure')
    bench.wait(lambda: bench.logged(name, 'configure: ') >= 2)
    shutil.copy(checkpoint / 'model.safetensors', weights)
    assert bench.change(name, 'configure')
    assert bench.change(name, 'activate')
    bench.wait(lambda: bench.health()[name][0] == 0 and bench.state(name).startswith('active'))
    assert all('\n' not in log.msg for log in bench.received['/rosout'] if log.name == name)


def test_an_absent_device_is_reported(bench, vision):
    vision(device='cuda:77')
    bench.wait(lambda: 'cuda:77' in bench.health().get('vision_node', (0, ''))[1])
    assert bench.state('vision_node') == 'unconfigured'


def test_unknown_parameters_are_an_error_in_the_log(bench, vision):
    bench.listen('/rosout')
    vision(kepe=0.5)
    bench.wait(lambda: bench.logged('vision_node', 'ignored: kepe'))


def test_without_autostart_a_manager_brings_it_up(bench, qa):
    from lifecycle_msgs.srv import GetState

    qa(autostart=False)

    def state():
        return bench.call(GetState, 'qa_node/get_state', GetState.Request()).current_state.label

    assert state() == 'unconfigured'
    for transition, wanted in (
        ('configure', 'inactive'),
        ('activate', 'active'),
        ('deactivate', 'inactive'),
        ('cleanup', 'unconfigured'),
        ('configure', 'inactive'),
    ):
        assert bench.change('qa_node', transition)
        assert state() == wanted
    assert not bench.change('qa_node', 'deactivate')


def test_tokens_are_handed_over_in_one_process(bench, vision, qa):
    seeing = vision()
    qa(seeing)
    reply = bench.reply('what is there?', bench.see)
    assert (reply['error'], reply['tokens'], reply['frame_id']) == ('', 9, 'camera')
    # Endpoints of the nodes before are forgotten when they have left the graph.
    bench.wait(lambda: bench.node.count_publishers('/visual_tokens') == 1)
    bench.wait(lambda: bench.node.count_subscribers('/visual_tokens') == 0)


def test_questions_about_several_frames(bench, vision, qa):
    qa(vision(), frames=3, frame_interval_s=0.2)

    def whole():
        reply = bench.reply('what was there?', bench.see)
        return reply['frames'] == 3 and reply

    assert bench.wait(whole)['tokens'] == 27


def test_words_are_drawn_and_instructed_as_parameters_say(bench, vision, qa, checkpoint):
    from rclpy.parameter import Parameter

    how = {'temperature': 1.5, 'seed': 3, 'system': 'Answer in one word.'}
    node = qa(vision(), max_new_tokens=8, **how)
    drawn = bench.reply('what is there?', bench.see)
    tokens = [seen.tokens for seen in node._memory.kept()]
    answerer = Answerer.from_pretrained(checkpoint)
    wanted = answerer.answer(tokens, 'what is there?', max_new_tokens=8, **how)
    assert drawn['text'].strip() == wanted.text

    def change(**values):
        return node.set_parameters_atomically([Parameter(n, value=v) for n, v in values.items()])

    assert 'seed: 3 has no effect at temperature 0' in change(temperature=0.0).reason
    assert change(temperature=0.0, seed=0, system='').successful
    greedy = bench.reply('what is there?', bench.see)
    wanted = answerer.answer(tokens, 'what is there?', max_new_tokens=8)
    assert greedy['text'].strip() == wanted.text != drawn['text'].strip()


def test_a_stopped_camera_is_reported_after_max_age(bench, vision, qa):
    qa(vision(), max_age_s=0.3, wait_s=0.1)
    assert bench.reply('what is there?', bench.see)['error'] == ''
    bench.wait(lambda: 'more than max_age_s' in bench.reply('and now?')['error'])


def test_partial_answers_grow_and_the_last_is_done(bench, vision, qa):
    qa(vision())
    reply = bench.reply('what is there?', bench.see, 'grow')

    def partials():
        return [json.loads(message.data) for message in bench.received['answer/partial']]

    bench.wait(lambda: partials() and partials()[-1]['done'])
    assert all(reply['text'].startswith(one['text']) for one in partials())
    assert [one['done'] for one in partials()].count(True) == 1
    assert 0 < reply['first_word_ms'] <= reply['latency_ms']


def test_simulated_time(bench, vision, qa, ros):
    from rosgraph_msgs.msg import Clock

    from tosa_ros.ros.conversions import stamp_message

    qa(vision(use_sim_time=True), use_sim_time=True, max_age_s=1.0)
    publisher = bench.node.create_publisher(Clock, '/clock', 10)
    now = 100.0

    def live():
        nonlocal now
        now += 0.05
        publisher.publish(Clock(clock=stamp_message(now)))
        bench.see(stamp_s=now)

    reply = bench.reply('what is there?', live)
    assert reply['error'] == ''
    assert 100 < reply['stamp'] <= now + 1e-6
    bench.wait(lambda: bench.received['/diagnostics'], live)
    stamps = [messages.stamp_s(array.header.stamp) for array in bench.received['/diagnostics']]
    assert max(stamps) <= now + 1e-6
    # Time stands still: what was seen last does not age.
    assert bench.reply('and now?')['error'] == ''
    bench.node.destroy_publisher(publisher)


def test_a_namespace_moves_every_topic_but_diagnostics(bench, vision):
    from sensor_msgs.msg import PointCloud2

    node = vision(use_depth=False)
    assert node.get_fully_qualified_name() == '/vision_node'
    from rclpy.parameter import Parameter

    moved = VisionNode(
        namespace='robot1', parameter_overrides=[Parameter('model', value=node.value('model'))]
    )
    bench.executor.add_node(moved)
    bench.wait(lambda: bench.state('robot1/vision_node').startswith('active'))
    viewer = bench.node.create_subscription(
        PointCloud2, '/robot1/visual_tokens', lambda _: None, 1
    )
    bench.wait(lambda: bench.node.count_subscribers('/robot1/image') == 1)
    bench.node.destroy_subscription(viewer)
    moved.close()
    bench.executor.remove_node(moved)
    moved.destroy_node()


def test_depth_in_another_frame_is_reported(bench, vision):
    vision()
    depth = conversions.image_message(bench.depth_m, '32FC1', bench.header())

    def elsewhere():
        bench.see(depth=False, stamp_s=5.0)
        depth.header = bench.header(5.0)
        depth.header.frame_id = 'depth_camera'
        bench.publisher('depth').publish(depth)

    bench.listen('visual_tokens')
    bench.wait(
        lambda: "'depth_camera'" in bench.health().get('vision_node', (0, ''))[1], elsewhere
    )


def test_qos_is_overridden_by_parameters(bench, vision):
    vision(
        use_depth=False,
        **{
            'qos_overrides./image.subscription.reliability': 'best_effort',
            'qos_overrides./image.subscription.depth': 7,
            'qos_overrides./visual_tokens.publisher.reliability': 'best_effort',
        },
    )
    bench.listen('merge_image')
    bench.publisher('image', reliable=True)
    bench.wait(lambda: bench.node.count_subscribers('/image') == 1)

    def qos(endpoints):
        return endpoints[0].qos_profile if endpoints else None

    received = qos(bench.node.get_subscriptions_info_by_topic('/image'))
    assert received.reliability == reliability(False)
    bench.wait(lambda: qos(bench.node.get_publishers_info_by_topic('/visual_tokens')))
    offered = qos(bench.node.get_publishers_info_by_topic('/visual_tokens'))
    assert offered.reliability == reliability(False)
    bench.next('merge_image', bench.see)
    # Reliable though all publishers are: it was not followed.
    bench.wait(lambda: bench.state('vision_node') == 'active', bench.see)
    [again] = bench.node.get_subscriptions_info_by_topic('/image')
    assert again.qos_profile.reliability == reliability(False)


def test_an_invalid_override_is_reported_and_ends_nothing(bench, vision):
    vision(use_depth=False, **{'qos_overrides./image.subscription.reliability': 'perhaps'})
    bench.wait(lambda: bench.state('vision_node').startswith('active'))
    bench.listen('merge_image')
    bench.wait(lambda: 'perhaps' in bench.health().get('vision_node', (0, ''))[1], bench.see)
