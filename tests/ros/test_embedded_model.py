"""The whole robot on the embedded model: ten questions about a known room, right answers."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest

from tosa_ros.assets import embedded_model
from tosa_ros.errors import ModelError

pytest.importorskip('rclpy')
pytest.importorskip('open3d')
try:
    embedded_model()
except ModelError:
    pytest.skip('the embedded model is not installed', allow_module_level=True)

ROOM = 9
SIZE = 128


def test_ten_questions_about_a_known_room(bench, spawn, run_process):
    from tosa_ros.merging import ToSA
    from tosa_ros.pipeline import VqaPipeline
    from tosa_ros.synthetic import single

    camera = ['camera', '--still', '--world', f'test:{ROOM}', '--size', str(SIZE)]
    processes = [run_process([sys.executable, '-m', 'tosa_ros.cli.main', *camera])]
    processes += [spawn(name) for name in ('depth_node', 'vision_node', 'qa_node')]

    sample = single('test', ROOM, size=SIZE)
    # As the camera sends it: depth in whole millimetres.
    depth = np.round(sample.frame.depth_m * 1000).astype(np.float32) / np.float32(1000)
    frame = dataclasses.replace(sample.frame, depth_m=depth)
    pipeline = VqaPipeline.from_pretrained(embedded_model(), merging=ToSA(keep=0.25))
    questions = sample.questions[:10]
    assert len(questions) == 10

    # At the start, until every topic is discovered, frames go without depth.
    bench.wait(lambda: bench.reply('ready?')['spatial'] == 'metric')
    right = 0
    for question in questions:
        reply = bench.reply(question.text)
        assert (reply['error'], reply['note'], reply['spatial']) == ('', '', 'metric')
        assert reply['text'] == pipeline.ask(frame, question.text).text
        right += reply['text'] == question.answer
    assert right >= 8
    for process in processes:
        assert process.end() == 0, process.output
        assert 'Traceback' not in process.output
