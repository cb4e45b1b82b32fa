"""More frames than a model was trained on: shared positions, sliding windows, right answers."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from tosa_ros import ToMe, ToSA, VqaPipeline
from tosa_ros.assets import embedded_model
from tosa_ros.errors import ModelError
from tosa_ros.synthetic import episode
from tosa_ros.vlm import Answerer, VisionEncoder

QUESTION = 'How many mugs are on the desk?'


def stating(path, tmp_path, **changes):
    copy = tmp_path / 'stating'
    shutil.copytree(path, copy)
    config = json.loads((copy / 'config.json').read_text())
    (copy / 'config.json').write_text(json.dumps({**config, **changes}))
    return copy


def test_a_window_that_slides_over_many_frames_answers_as_anew(checkpoint, make_frame):
    """As live: the oldest frame goes, a new one comes; what was read is used where it holds."""
    encoder = VisionEncoder.from_pretrained(checkpoint, merging=ToMe(keep=0.3))
    tokens = encoder.encode([make_frame(seed) for seed in range(9)])
    live = Answerer.from_pretrained(checkpoint, trained_frames=3, dtype=torch.float32)
    windows = [range(n) for n in range(1, 6)] + [range(n, n + 5) for n in range(1, 5)]
    for window in windows:
        seen = [tokens[number] for number in window]
        for question in (QUESTION, 'Why?'):
            anew = Answerer.from_pretrained(checkpoint, trained_frames=3, dtype=torch.float32)
            expected = anew.answer(seen, question, max_new_tokens=4, evidence=True)
            answer = live.answer(seen, question, max_new_tokens=4, evidence=True)
            assert answer.text == expected.text
            assert bool(answer.note) == (len(seen) > 3)
            for one, other in zip(answer.evidence.weights, expected.evidence.weights, strict=True):
                np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    ('given', 'stated', 'holds'), [(None, 5, 5), (2, 5, 2), (None, None, None)]
)
def test_the_number_of_trained_frames_is_stated_or_given(
    checkpoints, tmp_path, given, stated, holds
):
    changes = {} if stated is None else {'trained_frames': stated}
    path = stating(checkpoints['llava'], tmp_path, **changes)
    assert Answerer.from_pretrained(path, trained_frames=given).builder.trained_frames == holds


@pytest.mark.parametrize('bad', [0, 1.5, 'many', True])
def test_a_bad_number_of_trained_frames_is_named(checkpoints, tmp_path, bad):
    said = f'trained_frames: {bad!r}; wanted a whole number, 1 to 1024'
    with pytest.raises(ModelError, match=said):
        Answerer.from_pretrained(checkpoints['llava'], trained_frames=bad)
    with pytest.raises(ModelError, match=said):
        Answerer.from_pretrained(stating(checkpoints['llava'], tmp_path, trained_frames=bad))


def test_a_long_walk_is_answered_as_right_as_a_short_one():
    """Of the embedded model, which was trained on walks of up to 8 frames."""
    pipeline = VqaPipeline.from_pretrained(
        embedded_model(), merging=ToSA(keep=0.1), dtype=torch.float32
    )
    builder = pipeline.answerer.builder
    assert builder.trained_frames == 8
    walks = [episode('val', number, frames=32, questions=16) for number in range(4)]
    answers = {}
    for trained in (8, 1024):
        builder.trained_frames = trained
        answers[trained] = [
            (answer, asked.answer)
            for walk in walks
            for answer, asked in zip(
                pipeline.answer_batch([(walk.frames, q.text) for q in walk.questions]),
                walk.questions,
                strict=True,
            )
        ]
    share = {
        trained: np.mean([answer.text == right for answer, right in found])
        for trained, found in answers.items()
    }
    print(share)
    assert share[8] > 0.75
    assert share[8] > share[1024] + 0.1
    said = '32 frames share the positions of 8, as many as the model was trained on'
    assert {answer.note for answer, _ in answers[8]} == {said}
    assert {answer.note for answer, _ in answers[1024]} == {''}
