"""vision_node and qa_node in processes of their own, treated badly over real DDS.

Nothing hangs, nothing crashes, and every fault is in the log and in diagnostics once.
"""

from __future__ import annotations

import json
import shutil
import signal
import time
from array import array

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from shared_memory import lock_files

from tosa_ros.ros import conversions

pytest.importorskip('rclpy')


@pytest.fixture(scope='module')
def endless(checkpoint, tmp_path_factory):
    """A copy of the checkpoint whose answers go on until max_new_tokens."""
    path = tmp_path_factory.mktemp('model') / 'endless'
    shutil.copytree(checkpoint, path)
    weights = load_file(path / 'model.safetensors')
    end = json.loads((path / 'config.json').read_text())['text_config']['eos_token_id']
    # A logit of 0, where the greatest of 1,024 random ones is far above it.
    weights['language_model.lm_head.weight'][end] = 0
    save_file(weights, path / 'model.safetensors', metadata={'format': 'pt'})
    return path


@pytest.fixture(scope='module')
def graph(module_bench, spawn, endless):
    """Both nodes, active, and the bench that knows them."""
    bench = module_bench
    bench.processes = {
        'vision_node': spawn('vision_node', model=endless, max_rate='0.0', depth_timeout_s='0.5'),
        'qa_node': spawn('qa_node', model=endless, max_new_tokens='6'),
    }
    bench.listen('visual_tokens')
    bench.wait(lambda: bench.state('vision_node').startswith('active'))
    bench.wait(lambda: bench.state('qa_node').startswith('active'))
    return bench


@pytest.fixture(autouse=True)
def alive(graph):
    """After every test both nodes live and make tokens and answers of good input."""
    yield
    if not graph.processes:
        return
    assert graph.reply('still there?', graph.see)['error'] == ''
    assert all(process.alive for process in graph.processes.values())


def tokens_with(graph, spatial, pump):
    """Waits for tokens that know this much of space."""
    from tosa_ros.ros.token_cloud import tokens_from_cloud

    message = graph.next(
        'visual_tokens', pump, lambda cloud: tokens_from_cloud(cloud).spatial == spatial
    )
    return tokens_from_cloud(message)


def picture(graph, encoding='rgb8', **changes):
    message = conversions.image_message(graph.rgb, 'rgb8', graph.header())
    message.encoding = encoding
    for name, value in changes.items():
        setattr(message, name, value)
    return message


BAD_PICTURES = {
    'unknown encoding': ({'encoding': 'bayer_xxxx8'}, "encoding 'bayer_xxxx8' is not supported"),
    'depth as colour': ({'encoding': '16UC1'}, 'encoding 16UC1 is depth'),
    'zero size': ({'width': 0, 'height': 0, 'data': array('B')}, 'size is 0x0'),
    'truncated': ({'data': array('B', bytes(1000))}, 'the image is cut off'),
    'small step': ({'step': 7}, 'step is 7 bytes'),
}


@pytest.mark.parametrize('name', BAD_PICTURES)
def test_a_bad_image_is_reported_once_and_survived(graph, name):
    changes, said = BAD_PICTURES[name]
    bad = picture(graph, **changes)
    graph.wait(lambda: said in graph.health()['vision_node'][1], lambda: graph.see(image=bad))
    assert graph.health()['vision_node'][0] == 1
    assert graph.told_once('vision_node', said)


@pytest.mark.parametrize(
    ('field', 'change', 'said'),
    [
        ('feature', {'offset': 2**31 - 8, 'count': 8}, '8 of field feature at byte'),
        ('source', {'count': 2**32 - 1}, '4294967295 of field source at byte'),
        ('before', {'datatype': 8}, 'is of datatype 8'),
    ],
)
def test_a_hostile_cloud_is_reported_and_survived(graph, field, change, said):
    def sound(message):  # Late ones of the test before are not.
        fields = {one.name: one for one in message.fields}
        inside = all(one.offset < message.point_step for one in fields.values())
        return inside and fields['source'].count < 100

    cloud = graph.next('visual_tokens', graph.see, sound)
    for name, value in change.items():
        setattr(next(f for f in cloud.fields if f.name == field), name, value)
    graph.wait(
        lambda: said in graph.health()['qa_node'][1],
        lambda: graph.publisher('visual_tokens').publish(cloud),
    )
    graph.silence('visual_tokens')


def test_padded_and_big_endian_pictures_are_seen(graph):
    rows = graph.rgb.reshape(graph.height, -1)
    padded = np.hstack([rows, np.zeros((graph.height, 37), np.uint8)])
    message = picture(graph, step=padded.shape[1], data=array('B', padded.tobytes()))
    message.is_bigendian = 1
    before = tokens_with(graph, 'metric', graph.see)
    after = tokens_with(graph, 'metric', lambda: graph.see(image=message))
    np.testing.assert_array_equal(after.rgb, before.rgb)
    millimetres = (graph.depth_m * 1000).astype('>u2')
    depth = conversions.image_message(millimetres.astype(np.uint16), '16UC1', graph.header())
    depth.data, depth.is_bigendian = array('B', millimetres.tobytes()), 1
    tokens = tokens_with(graph, 'metric', lambda: graph.see(depth=depth))
    assert np.nanmedian(tokens.xyz[:, 2]) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ('shape', 'value', 'said'),
    [
        ((120, 160), np.nan, 'none of its 19200 pixels is valid'),
        ((100, 100), 2.0, '100x100 pixels for a 160x120 image'),
        ((120, 160), 2000.0, 'in other units'),
    ],
)
def test_useless_depth_is_reported_once_and_ignored(graph, shape, value, said):
    pixels = np.full(shape, value, np.float32)
    depth = conversions.image_message(pixels, '32FC1', graph.header())
    tokens_with(graph, 'none', lambda: graph.see(depth=depth))
    graph.wait(lambda: said in graph.health()['vision_node'][1], lambda: graph.see(depth=depth))
    assert graph.told_once('vision_node', said)
    assert tokens_with(graph, 'metric', graph.see)


def test_a_camera_that_is_not_calibrated_gives_levels(graph):
    from sensor_msgs.msg import CameraInfo

    zeros = CameraInfo(width=160, height=120)
    tokens = tokens_with(graph, 'levels', lambda: graph.see(camera_info=zeros))
    assert np.isnan(tokens.xyz).all()
    assert graph.told_once('vision_node', 'is not calibrated')


def test_stamps_that_jump_back_are_followed(graph):
    from tosa_ros.ros.token_cloud import tokens_from_cloud

    now = time.time()
    for start in (now, now - 1000, 0.0):
        count = iter(range(10**6))
        message = graph.next(
            'visual_tokens',
            lambda start=start, count=count: graph.see(stamp_s=start + 0.03 * next(count)),
            lambda cloud, start=start: 0 <= tokens_from_cloud(cloud).stamp - start < 100,
        )
        assert message.header.frame_id == 'camera'


def test_without_depth_answers_go_on_and_say_so(graph):
    blind = lambda: graph.see(depth=False)  # noqa: E731
    tokens_with(graph, 'none', blind)
    # The first question may still be about a frame that had depth.
    reply = graph.wait(
        lambda: (one := graph.reply('what is there?', blind))['spatial'] == 'none' and one
    )
    assert 'merged by appearance alone' in reply['note']
    graph.wait(lambda: 'no depth for 0.5 s' in graph.health()['vision_node'][1], blind)
    assert graph.told_once('vision_node', 'no depth for 0.5 s')
    reply = graph.wait(
        lambda: (one := graph.reply('and now?', graph.see))['spatial'] == 'metric' and one
    )
    assert reply['note'] == ''


@pytest.mark.parametrize('image', [True, False])
@pytest.mark.parametrize('depth', [True, False])
def test_any_mix_of_reliable_and_best_effort_is_received(graph, image, depth):
    graph.silence('image', 'depth', 'camera_info')
    graph.publisher('image', reliable=image)
    graph.publisher('depth', reliable=depth)
    graph.publisher('camera_info', reliable=image)
    assert tokens_with(graph, 'metric', graph.see)


def test_a_flood_of_questions_is_answered_or_refused(graph):
    tokens_with(graph, 'metric', graph.see)
    start = len(graph.received['answer'])
    for index in range(1000):
        graph.ask(json.dumps({'id': f'flood{index}', 'text': 'what is there?'}))
    graph.wait(lambda: len(graph.answers(start)) >= 1000, graph.see)
    replies = {one['id']: one['error'] for one in graph.answers(start)}
    assert replies.keys() == {f'flood{index}' for index in range(1000)}
    assert len(graph.answers(start)) == 1000
    refused = [error for error in replies.values() if error]
    assert 0 < len(refused) < 1000
    assert {error.split(' are')[0] for error in refused} == {'busy: 8 questions'}


@pytest.mark.parametrize(
    ('data', 'said'),
    [
        ('x' * 1_000_000, '1,000,000 characters'),
        ('{"text": "what', 'begins like JSON but is not'),
        ('', 'wanted text'),
        ('<|im_start|>', 'special tokens'),
        ('\udcff\ud800'.encode('utf-8', 'surrogatepass').decode('utf-8', 'replace'), ''),
    ],
)
def test_an_invalid_question_is_refused(graph, data, said):
    tokens_with(graph, 'metric', graph.see)
    start = len(graph.received['answer'])
    graph.ask(data)
    reply = graph.wait(lambda: graph.answers(start), graph.see)[0]
    assert said in reply['error']
    assert len(reply['question']) <= 200


def test_another_cloud_on_visual_tokens_is_reported(graph):
    from sensor_msgs.msg import PointCloud2

    publisher = graph.publisher('visual_tokens')
    graph.wait(
        lambda: 'without points' in graph.health()['qa_node'][1],
        lambda: publisher.publish(PointCloud2(header=graph.header())),
    )
    graph.silence('visual_tokens')
    assert graph.told_once('qa_node', 'without points')


def test_a_long_answer_is_cancelled_and_disabling_rests_everything(graph):
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter
    from std_srvs.srv import SetBool, Trigger

    def lengthen(tokens):
        value = Parameter('max_new_tokens', value=tokens).to_parameter_msg()
        request = SetParameters.Request(parameters=[value])
        graph.call(SetParameters, 'qa_node/set_parameters', request, graph.see)

    lengthen(3000)
    start, partials = len(graph.received['answer']), len(graph.received['answer/partial'])
    graph.ask('{"id": "long", "text": "what is there?"}')
    graph.ask('{"id": "next", "text": "what is there?"}')
    # Refused at once, and so a sign that those before it have come.
    graph.ask('{"id": "third", "text": ""}')
    graph.wait(lambda: graph.answers(start, 'third'), graph.see)
    graph.wait(lambda: len(graph.received['answer/partial']) > partials, graph.see)
    assert graph.call(Trigger, 'cancel', Trigger.Request()).message == '2 questions cancelled'
    graph.wait(lambda: len(graph.answers(start)) == 3, graph.see)
    ends = {one['id']: one['error'] for one in graph.answers(start)[1:]}
    assert ends == {'long': 'cancelled', 'next': 'cancelled'}
    lengthen(6)

    graph.stop_listening('visual_tokens')
    assert graph.call(SetBool, 'enable', SetBool.Request(data=False)).message == 'disabled'
    assert 'is disabled' in graph.reply('what is there?', graph.see)['error']
    graph.wait(lambda: 'no subscribers' in graph.state('vision_node'), graph.see)
    graph.wait(lambda: graph.publisher('image').get_subscription_count() == 0, graph.see)
    graph.call(SetBool, 'enable', SetBool.Request(data=True))
    graph.listen('visual_tokens')


def test_keep_and_method_change_while_running(graph):
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter

    def change(**values):
        given = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        request = SetParameters.Request(parameters=given)
        results = graph.call(SetParameters, 'vision_node/set_parameters', request, graph.see)
        return [result.successful for result in results.results]

    def tokens(count):
        graph.next('visual_tokens', graph.see, lambda cloud: cloud.width == count)

    tokens(9)
    assert change(keep=0.5) == [True]
    tokens(18)
    assert change(method='none') == [True]
    tokens(36)
    assert change(method='pitome', keep=1) == [True, True]
    tokens(36)
    assert change(keep=0.0, method='magic', model='elsewhere') == [False, False, False]
    assert change(method='tosa', keep=0.25) == [True, True]
    tokens(9)
    assert change(max_rate=2.0, sync_slop_s=0.5) == [True, True]
    start, began = len(graph.received['visual_tokens']), time.monotonic()
    graph.wait(lambda: len(graph.received['visual_tokens']) >= start + 5, graph.see)
    # One may begin early, and one was under way.
    assert time.monotonic() - began > 1.0
    assert change(max_rate=0.0, sync_slop_s=0.02) == [True, True]


def test_deactivated_in_the_middle_of_work_and_activated_again(graph):
    for node in ('vision_node', 'qa_node'):
        graph.ask('{"id": "cut", "text": "what is there?"}')
        graph.see()
        assert graph.change(node, 'deactivate', graph.see)
        graph.wait(lambda node=node: graph.state(node) == 'inactive', graph.see)
    graph.wait(lambda: graph.publisher('image').get_subscription_count() == 0)
    for node in ('vision_node', 'qa_node'):
        assert graph.change(node, 'activate', graph.see)
    for step in ('deactivate', 'cleanup', 'configure', 'activate'):
        assert graph.change('vision_node', step, graph.see)


@pytest.mark.parametrize('node', ['vision_node', 'qa_node'])
def test_a_node_that_is_killed_comes_back_into_the_graph(graph, spawn, endless, node):
    graph.processes[node].end(signal.SIGKILL)
    graph.processes[node] = spawn(node, model=endless)
    start, reports = len(graph.received['visual_tokens']), len(graph.received['/diagnostics'])
    graph.wait(lambda: graph.state(node, reports).startswith('active'))
    again = iter(f'again{number}' for number in range(1000))
    # Who was killed is believed to listen for a while.
    ask = lambda: graph.ask(json.dumps({'id': next(again), 'text': 'what is there?'}))  # noqa: E731
    answers = len(graph.received['answer'])
    graph.wait(
        lambda: any(not one['error'] for one in graph.answers(answers)),
        lambda: (graph.see(), ask()),
        every_s=0.3,
    )
    graph.wait(lambda: len(graph.received['visual_tokens']) > start, graph.see)


def test_nodes_end_in_the_middle_of_their_work(graph):
    """The last: no node is left, nor what they had in shared memory."""
    for index in range(8):
        graph.ask(json.dumps({'id': f'cut{index}', 'text': 'what is there?'}))
    for node, how in (('qa_node', signal.SIGTERM), ('vision_node', signal.SIGINT)):
        graph.see()
        process = graph.processes.pop(node)
        locks = lock_files(process.popen.pid)
        assert locks
        assert process.end(how) == 0, process.output
        assert 'Traceback' not in process.output
        assert not [lock for lock in locks if lock.exists()]
