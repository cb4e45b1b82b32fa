"""A bag played to the nodes with /clock, questions asked at their times."""

from __future__ import annotations

import threading
import time

import pytest

from tosa_ros.errors import RosError

pytest.importorskip('rclpy')
pytest.importorskip('rosbags')
pytest.importorskip('open3d')

from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter

from tosa_ros.ros.live import LiveReplay, Recorded, TimedQuestion
from tosa_ros.ros.qa_node import QaNode
from tosa_ros.ros.vision_node import VisionNode
from tosa_ros.synthetic import bags, episode

NEEDED = (bags.COLOUR_TOPIC, bags.DEPTH_TOPIC, bags.INFO_TOPIC)


@pytest.fixture(scope='module')
def walk():
    return episode('test', 1, frames=8, size=64, questions=0)


@pytest.fixture
def recording(walk, tmp_path):
    """(types, messages) of a bag of eight frames."""
    from rosbags.highlevel import AnyReader

    bags.write_bag(tmp_path / 'walk', walk)

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
    replay = LiveReplay(*recording, rate=length / 2)
    assert replay.left_out == {}
    began = time.monotonic()
    replies = {q.id: reply for q, reply in replay.run(questions, wait_for=NEEDED)}
    assert time.monotonic() - began >= 2
    replay.close()
    assert list(replies) == ['middle', 'end']
    assert [reply['error'] for reply in replies.values()] == ['', '']
    assert replies['end']['stamp'] == pytest.approx(start + length)
    assert start <= replies['middle']['stamp'] < start + length
    assert {reply['spatial'] for reply in replies.values()} == {'metric'}


def test_without_nodes_the_reason_is_told(ros, recording, monkeypatch):
    monkeypatch.setattr('tosa_ros.ros.live.READY_S', 0.3)
    replay = LiveReplay({**recording[0], '/odd': 'odd_msgs/msg/Odd'}, recording[1])
    assert replay.left_out == {'/odd': 'odd_msgs/msg/Odd'}
    with pytest.raises(RosError, match='nobody subscribes to /camera/color/image_raw'):
        list(replay.run([], wait_for=NEEDED[:1]))
    replay.close()


def test_a_damaged_recording_is_told(ros, recording):
    def damaged():
        yield from list(recording[1])[:5]
        raise ValueError('chunk 3 is cut off')

    replay = LiveReplay(recording[0], damaged(), rate=50)
    with pytest.raises(RosError, match='cannot be played: chunk 3 is cut off'):
        list(replay.run([TimedQuestion('a', 'what?')], timeout_s=1))
    replay.close()
    with pytest.raises(RosError, match='rate: 0'):
        LiveReplay({}, [], rate=0)
