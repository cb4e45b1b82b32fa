"""A question with nobody on `answer`, as `ros2 topic pub --once` asks it: it gets its answer."""

from __future__ import annotations

import json
import sys

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('open3d')

TOSA = [sys.executable, '-m', 'tosa_ros.cli.main']


@pytest.fixture
def up(bench, run_process, checkpoint):
    """`tosa up` and `tosa camera`, active, and nobody who listens to answers."""
    bench.stop_listening('answer', 'answer/partial')
    bench.listen('/rosout')
    run_process([*TOSA, 'camera', '--size', '64', '--frames', '4'])
    process = run_process([*TOSA, 'up', '--model', str(checkpoint), '--keep', '0.5'])
    for node in ('depth_node', 'vision_node', 'qa_node'):
        bench.wait(lambda node=node: bench.state(node).startswith('active'))
    return process


def ask(bench, name, text='what is there?'):
    bench.wait(lambda: bench.publisher('question').get_subscription_count() > 0)
    bench.ask(json.dumps({'id': name, 'text': text}))


def test_a_waiting_question_wakes_the_graph_and_its_answer_is_logged(bench, up):
    bench.wait(lambda: 'no subscribers' in bench.state('vision_node'))
    ask(bench, 'first')
    bench.wait(lambda: bench.logged('qa_node', "question first: 'what is there?': '"))
    bench.wait(lambda: "question first: 'what is there?': '" in up.output)
    # Then it rests again: a question is demand only as long as it waits.
    seen = len(bench.received['/diagnostics'])
    bench.wait(lambda: 'no subscribers' in bench.state('vision_node', seen))

    ask(bench, 'empty', '')
    bench.wait(lambda: bench.logged('qa_node', "refused: question: ''; wanted text"))

    # `ros2 topic echo --once /answer` shows the next answer, never an old one.
    bench.listen('answer')
    bench.wait(lambda: bench.node.count_publishers('answer') > 0)
    ask(bench, 'second')
    [reply] = bench.wait(lambda: bench.answers())
    assert (reply['id'], reply['error'], reply['tokens']) == ('second', '', 18)
    # What it prints of a long line are the first 128 characters.
    assert list(reply)[:4] == ['id', 'text', 'error', 'question']
