"""Anybody in the domain may publish on `answer`: what is no reply is passed over."""

from __future__ import annotations

import json
import threading

import pytest

from tosa_ros.errors import RosError
from tosa_ros.ros.replies import MAX_REPLY_CHARACTERS, Reply, parse_reply

SOUND = json.loads(Reply(id='q', question='what?', text='a cup').to_json())
HOSTILE = [
    '',
    'hello',
    '[' * 200_000,
    '{"id":' * 100_000,
    '9' * 5000,
    json.dumps('x' * MAX_REPLY_CHARACTERS),
    'null',
    '[]',
    '{}',
    json.dumps({'id': 'q', 'text': 'all that there is', 'done': True}),
    *(
        json.dumps(SOUND | {name: value})
        for name in SOUND
        for value in (None, [], {}, [[1]], 'x', 7, True, float('nan'), float('inf'))
        if type(value) is not type(SOUND[name])
        and not (name == 'first_word_ms' and value in (None, 7))
        and not (isinstance(SOUND[name], float) and value == 7)
    ),
]


def test_a_valid_reply_is_read():
    assert parse_reply(json.dumps(SOUND)) == SOUND
    assert parse_reply(json.dumps(SOUND | {'first_word_ms': 7.5, 'more': [1]}))['text'] == 'a cup'


@pytest.mark.parametrize('data', HOSTILE)
def test_an_invalid_reply_is_none(data):
    assert parse_reply(data) is None


def answering(bench):
    """Makes the bench a publisher of answers, as qa_node is one."""
    from tosa_ros.ros.topics import qos_profile

    kind = bench.kinds['answer']
    bench.mouths['answer'] = bench.node.create_publisher(kind, 'answer', qos_profile('text'))


def publisher(bench, stop, make):
    """Answers every question by `make(id)`, in a thread, as any node of the domain may."""

    def run():
        bench.wait(lambda: stop.is_set() or bench.received['question'], timeout_s=60)
        for message in bench.received['question']:
            for data in make(json.loads(message.data)['id']):
                bench.publisher('answer').publish(bench.kinds['answer'](data=data))

    return threading.Thread(target=run)


def test_say_passes_over_all_of_it_and_takes_the_answer(bench, ros):
    from tosa_ros.ros.asker import Asker

    bench.listen('question')
    answering(bench)
    stop = threading.Event()
    others = publisher(
        bench,
        stop,
        lambda name: [
            *(data.replace('"q"', f'"{name}"') for data in HOSTILE if len(data) < 300_000),
            Reply(id=name, question='what?', text='a cup').to_json(),
        ],
    )
    asker = Asker('say_hostile')
    others.start()
    try:
        assert asker.ask('what?', 60.0)['text'] == 'a cup'
    finally:
        stop.set()
        others.join()
        asker.close()


def test_say_waits_for_one_that_answers_not_for_a_recorder(bench, ros):
    from tosa_ros.ros.asker import Asker

    bench.listen('question')
    asker = Asker('say_waiting')
    try:
        # Nodes that another test killed are known until their lease ends.
        asker.wait_until(lambda: asker.count_publishers('answer') == 0, 60.0, 'others answer')
        with pytest.raises(RosError, match='no node receives /question and answers'):
            asker.ask('what?', 3.0)
        assert bench.received['question'] == []
        stop = threading.Event()
        late = lambda name: [Reply(id=name, question='q', text='late').to_json()]  # noqa: E731
        others = publisher(bench, stop, late)
        timer = threading.Timer(1.0, answering, [bench])
        timer.start()
        others.start()
        assert asker.ask('what?', 60.0)['text'] == 'late'
        stop.set()
        others.join()
    finally:
        asker.close()


@pytest.mark.parametrize('timeout', ['nan', 'inf', '-1', '0'])
def test_a_timeout_that_never_ends_is_refused(bench, ros, timeout):
    from tosa_ros.ros.asker import Asker

    asker = Asker('say_forever')
    try:
        with pytest.raises(RosError, match=r'timeout: .* wanted above 0'):
            asker.ask('what?', float(timeout))
    finally:
        asker.close()


@pytest.mark.parametrize('namespace', ['\x1b[31m', 'a b', '1a', 'a//b', 'a:=b', 'é'])
def test_a_namespace_that_is_none_is_one_line(namespace):
    from tosa_ros.ros.session import ros_arguments

    with pytest.raises(RosError, match=r'namespace .* wanted letters') as refused:
        ros_arguments(namespace)
    assert str(refused.value).isprintable()
    assert ros_arguments('/robot_1/front/')[-1] == '__ns:=/robot_1/front'
