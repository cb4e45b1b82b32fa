"""A bag played to the nodes with /clock, questions asked at their times."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tosa_ros.errors import RosError

pytest.importorskip('rclpy')
pytest.importorskip('rosbags')
pytest.importorskip('open3d')

from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import String

from tosa_ros.evaluation.live import played_types, recorded
from tosa_ros.messages.recording import Recorded, TimedQuestion
from tosa_ros.ros.playback import MAX_WAITING, LiveReplay
from tosa_ros.ros.qa_node import QaNode
from tosa_ros.ros.replies import Reply
from tosa_ros.ros.topics import qos_profile
from tosa_ros.ros.vision_node import VisionNode
from tosa_ros.sources.bags import BagFrames
from tosa_ros.sources.bags import writing as bags
from tosa_ros.synthetic import episode

ROOT = Path(__file__).parents[2]
NEEDED = (bags.COLOUR_TOPIC, bags.DEPTH_TOPIC, bags.INFO_TOPIC)


@pytest.fixture(scope='module')
def walk():
    return episode('test', 1, frames=8, size=64, questions=0)


@pytest.fixture
def recording(walk, tmp_path):
    """(types, messages) of a bag of eight frames."""
    from rosbags.highlevel import AnyReader

    bags.frames_to_bag(tmp_path / 'walk', walk.frames)

    def messages():
        with AnyReader([tmp_path / 'walk']) as reader:
            for connection, stamp_ns, data in reader.messages():
                yield Recorded(stamp_ns * 1e-9, connection.topic, data)

    with AnyReader([tmp_path / 'walk']) as reader:
        types = {connection.topic: connection.msgtype for connection in reader.connections}
    return types, messages()


@pytest.fixture
def robot(ros, checkpoint):
    """Both nodes on simulated time, spinning in a thread."""
    parameters = {'model': str(checkpoint), 'use_sim_time': True, 'max_new_tokens': 4}
    given = [Parameter(name, value=value) for name, value in parameters.items()]
    names = dict(zip(('image', 'depth', 'camera_info'), NEEDED, strict=True))
    words = [word for name, topic in names.items() for word in ('-r', f'{name}:={topic}')]
    vision = VisionNode(parameter_overrides=given, cli_args=['--ros-args', *words])
    nodes = [vision, QaNode(vision, parameter_overrides=given)]
    executor = SingleThreadedExecutor()
    for node in nodes:
        executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield nodes
    executor.shutdown()
    thread.join()
    for node in nodes:
        node.close()
        node.destroy_node()


def test_questions_are_asked_at_their_times(ros, robot, recording, walk):
    start = bags.START_S
    length = walk.frames[-1].stamp
    questions = [
        TimedQuestion('end', 'what was there?'),
        TimedQuestion('middle', 'what is there?', start + length / 2),
    ]
    replay = LiveReplay(*recording, rate=length / 2, image=bags.COLOUR_TOPIC)
    assert replay.left_out == {}
    settings = replay.settings()
    assert settings['models'] == dict.fromkeys(('vision_node', 'qa_node'), 'tiny')
    assert settings['vision_node']['keep'] == 0.25
    assert settings['qa_node']['max_new_tokens'] == 4
    began = time.monotonic()
    received = {
        one.question.id: one for one in replay.run(questions, wait_for=['/clock', *NEEDED])
    }
    assert time.monotonic() - began >= 2
    assert list(received) == ['middle', 'end']
    replies = {name: one.reply for name, one in received.items()}
    assert [reply['error'] for reply in replies.values()] == ['', '']
    assert replies['end']['stamp'] == pytest.approx(start + length)
    assert start <= replies['middle']['stamp'] < start + length
    assert {reply['spatial'] for reply in replies.values()} == {'metric'}
    assert replay.tokens_before == 36
    playback = replay.playback
    assert playback.played == 8
    assert 1 <= playback.encoded <= 8
    assert playback.wall_s >= 2
    assert len(playback.latencies_ms) == playback.encoded
    assert 0 < min(playback.latencies_ms) < 2000
    replay.close()


@pytest.fixture
def slow_answers(ros):
    """Someone who answers each question half a second after it came; and when each came."""
    node = ros.create_node('slow')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    came, answered, end = [], [], threading.Event()
    publisher = node.create_publisher(String, 'answer', qos_profile('text'))
    node.create_subscription(String, 'question', lambda m: came.append((_now(), m.data)), 100)

    def work():
        while not end.is_set():
            executor.spin_once(timeout_sec=0.01)
            while len(answered) < len(came) and _now() - came[len(answered)][0] >= 0.5:
                asked = json.loads(came[len(answered)][1])
                answered.append(_now())
                reply = Reply(id=asked['id'], question=asked['text'], text='so')
                publisher.publish(String(data=reply.to_json()))

    thread = threading.Thread(target=work)
    thread.start()
    yield came
    end.set()
    thread.join()
    executor.shutdown()
    node.destroy_node()


def _now():
    return time.monotonic()


def test_a_question_does_not_wait_for_the_answer_to_another(ros, recording, slow_answers, walk):
    start, length = bags.START_S, walk.frames[-1].stamp
    questions = [TimedQuestion(n, 'what?', start + n * 0.1) for n in range(4)]
    replay = LiveReplay(*recording, rate=length)
    received = list(replay.run(questions))
    replay.close()
    assert [one.question.id for one in received] == [0, 1, 2, 3]
    assert {one.reply['text'] for one in received} == {'so'}
    asked = [when for when, _ in slow_answers]
    assert asked[3] - asked[0] < 0.5  # though none was answered by then


def test_no_more_questions_wait_than_the_nodes_take(ros, recording, slow_answers, walk):
    questions = [TimedQuestion(n, 'what?', bags.START_S + 0.1) for n in range(MAX_WAITING + 2)]
    replay = LiveReplay(*recording, rate=walk.frames[-1].stamp / 2)
    late = [one.late_s for one in replay.run(questions)]
    replay.close()
    assert max(late[:MAX_WAITING]) < 0.5 < min(late[MAX_WAITING:])


def test_an_unanswered_question_has_a_reason(ros, recording, slow_answers, walk):
    replay = LiveReplay(*recording, rate=100)
    [one] = replay.run([TimedQuestion('a', 'what?')], timeout_s=0.2)
    replay.close()
    assert one.reply == {'text': '', 'error': 'no answer within 0.2 s'}


def test_without_nodes_the_error_names_the_reason(ros, recording, monkeypatch):
    monkeypatch.setattr('tosa_ros.ros.playback.READY_S', 0.3)
    replay = LiveReplay({**recording[0], '/odd': 'odd_msgs/msg/Odd'}, recording[1])
    assert replay.left_out == {'/odd': 'odd_msgs/msg/Odd'}
    with pytest.raises(RosError, match='no node subscribes to /camera/color/image_raw'):
        list(replay.run([], wait_for=NEEDED[:1]))
    with pytest.raises(RosError, match='start the nodes with --use-sim-time'):
        list(replay.run([], wait_for=['/clock']))
    with pytest.raises(RosError, match=r'not active \(vision_node: not found, qa_node'):
        replay.settings()
    replay.close()


def test_a_damaged_recording_is_reported(ros, recording):
    def damaged():
        yield from list(recording[1])[:5]
        raise ValueError('chunk 3 is cut off')

    replay = LiveReplay(recording[0], damaged(), rate=50)
    with pytest.raises(RosError, match='cannot be played: chunk 3 is cut off'):
        list(replay.run([TimedQuestion('a', 'what?')], timeout_s=1))
    replay.close()
    with pytest.raises(RosError, match='rate: 0'):
        LiveReplay({}, [], rate=0)


def test_a_bag_of_ros_1_is_played_as_ros_2(ros, tmp_path):
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC)
    header = store.types['std_msgs/msg/Header'](
        7, store.types['builtin_interfaces/msg/Time'](10**9, 5), 'optical'
    )
    pixels = np.arange(24, dtype=np.uint8)
    image = store.types['sensor_msgs/msg/Image'](header, 2, 4, 'rgb8', 0, 12, pixels)
    with Writer(tmp_path / 'old.bag') as writer:
        connection = writer.add_connection('/image', image.__msgtype__, typestore=store)
        writer.write(connection, 10**18, store.serialize_ros1(image, image.__msgtype__))
    bag = BagFrames(tmp_path / 'old.bag')
    assert played_types(bag) == {'/image': 'sensor_msgs/msg/Image'}
    [one] = recorded(bag)
    assert (one.time_s, one.topic) == (pytest.approx(1e9), '/image')
    message = deserialize_message(bytes(one.cdr), Image)
    assert (message.header.stamp.sec, message.header.frame_id) == (10**9, 'optical')
    assert bytes(message.data) == pixels.tobytes()


# The command


@pytest.fixture
def bag(walk, tmp_path):
    bags.frames_to_bag(tmp_path / 'kitchen', walk.frames)
    return tmp_path / 'kitchen'


def replayed(bag, questions, out, *more):
    """`tosa replay --live` in a process of its own."""
    path = bag.with_name('questions.json')
    path.write_text(json.dumps(questions))
    words = [bag, '--questions', path, '--live', '--rate', 3, '--out', out, *more]
    command = [sys.executable, '-m', 'tosa_ros.cli.main', 'replay', *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)


def test_the_command_plays_asks_and_reports(ros, robot, bag, tmp_path):
    questions = [
        {'question': 'What is there?', 'answer': 'a cat', 'time': 1, 'id': 'now'},
        {'question': 'What was there?', 'answer': 'a dog', 'id': 'then'},
        {'question': 'And next year?', 'time': 3e7, 'id': 'never'},
    ]
    out = tmp_path / 'run'
    done = replayed(bag, questions, out, '--json')
    assert done.returncode == 1, done.stderr  # One question was not asked.
    results = json.loads(done.stdout)
    assert results == json.loads((out / 'scores.json').read_text())
    assert (results['questions'], results['scored']) == (3, 2)
    method = results['methods']['live']
    assert method['answered'] == 2
    assert method['cost']['tokens_before'] == 36
    assert method['cost']['tokens_after'] == 9
    assert list(results['not_evaluated']) == ['question never']
    live = results['live']
    assert live['images_played'] == 8
    assert live['images_encoded'] + live['images_dropped'] == 8
    assert live['latency_ms']['whole answer'][0] > 0
    assert {'first word', 'an image becomes visual tokens'} <= live['latency_ms'].keys()
    predictions = json.loads((out / 'live' / 'predictions.json').read_text())
    assert [one['question_id'] for one in predictions] == ['now', 'then']
    text = (out / 'report.md').read_text()
    for wanted in ('8 images played', 'dropped', 'whole answer', "'keep': 0.25", 'never'):
        assert wanted in text
    # Again: what is answered is not asked again, and the rate is part of the run.
    before = (out / 'live' / 'answers.jsonl').read_bytes()
    done = replayed(bag, questions, out)
    assert done.returncode == 1, done.stderr
    assert (out / 'live' / 'answers.jsonl').read_bytes() == before
    assert '8 images played' in (out / 'report.md').read_text()
    done = replayed(bag, questions, out, '--rate', 4)
    assert done.returncode == 2
    assert 'made with rate=3.0, not 4.0' in done.stderr


def test_options_that_the_nodes_decide_are_refused(bag, tmp_path):
    for more, message in (
        (('--keep', 0.5), '--keep is for --offline'),
        (('--max-new-tokens', 5), '--max-new-tokens is for --offline'),
        (('--offline',), 'argument --offline: not allowed with argument --live'),
        (('--frames', 12), '--frames is for --offline'),
    ):
        done = replayed(bag, [{'question': 'What?'}], tmp_path / 'run', *more)
        assert done.returncode == 2
        [line] = done.stderr.splitlines()
        assert message in line
