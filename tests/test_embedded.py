"""The model in the box answers: rooms it never saw, with merging and without, not when blind."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tosa_ros import Frame, NoMerging, ToMe, ToSA, VqaPipeline
from tosa_ros.assets import embedded_model
from tosa_ros.synthetic import single

ROOMS = 25


@pytest.fixture(scope='module')
def pipeline():
    return VqaPipeline.from_pretrained(embedded_model(), dtype=torch.float32)


@pytest.fixture(scope='module')
def rooms():
    return [single('test', index, questions=8) for index in range(ROOMS)]


def accuracy(pipeline, rooms, method, show=lambda frame: frame):
    pipeline.merging = method
    right = asked = 0
    for room in rooms:
        frame = show(room.frame)
        answers = pipeline.answer_batch([(frame, q.text) for q in room.questions])
        right += sum(a.text == q.answer for a, q in zip(answers, room.questions, strict=True))
        asked += len(answers)
    assert asked > 150
    return right / asked


def test_it_answers_about_rooms_it_never_saw(pipeline, rooms):
    assert accuracy(pipeline, rooms, NoMerging()) > 0.85


@pytest.mark.parametrize('method', [ToSA(keep=0.25), ToSA(keep=0.25, spatial='levels'), ToMe()])
def test_merging_keeps_the_answers(pipeline, rooms, method):
    assert accuracy(pipeline, rooms, method) > accuracy(pipeline, rooms, NoMerging()) - 0.08


def test_it_cannot_answer_blind(pipeline, rooms):
    def black(frame):
        return Frame(np.zeros_like(frame.rgb))

    assert accuracy(pipeline, rooms, NoMerging(), black) < 0.5


def test_it_names_a_floor_and_a_colour_with_a_quarter_of_the_tokens(pipeline):
    pipeline.merging = ToSA(keep=0.25)
    room = single('test', 2)
    by_type = {q.type: q for q in room.questions}
    for kind in ('floor', 'colour'):
        question = by_type[kind]
        assert pipeline.ask(room.frame, question.text).text == question.answer
