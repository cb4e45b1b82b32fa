"""Prompts packed behind one beginning are read as padded ones are, each with its own copy."""

from __future__ import annotations

import pytest
import torch

from tosa_ros.merging import ToSA
from tosa_ros.vlm import Answerer, VisionEncoder, decoding
from tosa_ros.vlm.prefix import shared_rows
from tosa_ros.vlm.untrained import write_checkpoint

QUESTIONS = ('How many mugs?', 'Which of the two chairs is nearer to the open door?', 'What?')


@pytest.fixture(scope='module', params=['llava_onevision', 'qwen2_vl', 'qwen3_vl'])
def halves(request, tmp_path_factory):
    path = tmp_path_factory.mktemp('layouts') / 'model'
    write_checkpoint(path, family=request.param, seed=3)
    return (
        VisionEncoder.from_pretrained(path, merging=ToSA(keep=0.5), dtype=torch.float32),
        Answerer.from_pretrained(path, dtype=torch.float32),
    )


@pytest.fixture
def logits(monkeypatch):
    """What layouts are used, and the logits that they give, step by step."""
    seen = []
    for name in ('Packed', 'Padded'):
        layout = getattr(decoding, name)
        last = layout.last

        def watched(self, output, name=name, last=last):
            found = last(self, output)
            seen.append((name, found))
            return found

        monkeypatch.setattr(layout, 'last', watched)
    return seen


@pytest.mark.parametrize('turns', [1, 2])
def test_packed_prompts_give_the_logits_of_padded_ones(
    halves, logits, make_frame, monkeypatch, turns
):
    """Also when the frames are known from the turn before."""
    encoder, answerer = halves
    tokens = encoder.encode([make_frame(seed) for seed in range(3)])
    runs = {}
    for name, worth in (('Padded', 0), ('Packed', 99)):
        monkeypatch.setattr(decoding, 'WORTH', worth)
        answerer.decoder.prefix.forget()
        for _ in range(turns):
            logits.clear()
            said = answerer.answer_batch([(tokens, q) for q in QUESTIONS], max_new_tokens=5)
        assert {used for used, _ in logits} == {name}
        runs[name] = [one.text for one in said], [found for _, found in logits]
    assert runs['Packed'][0] == runs['Padded'][0]
    assert len(set(runs['Packed'][0])) > 1
    for packed, padded in zip(runs['Packed'][1], runs['Padded'][1], strict=True):
        torch.testing.assert_close(packed, padded, rtol=1e-4, atol=1e-4)


def test_what_was_read_of_the_frames_is_kept_and_not_what_followed(halves, make_frame):
    encoder, answerer = halves
    tokens = encoder.encode([make_frame(0), make_frame(1)])
    alone = [answerer.answer(tokens, q, max_new_tokens=5).text for q in QUESTIONS]
    for _ in range(2):
        batch = answerer.answer_batch([(tokens, q) for q in QUESTIONS], max_new_tokens=5)
        assert [one.text for one in batch] == alone
        assert answerer.answer(tokens, QUESTIONS[1], max_new_tokens=5).text == alone[1]


def test_evidence_is_of_each_prompt(halves, make_frame):
    encoder, answerer = halves
    tokens = encoder.encode([make_frame(0)])
    asked = [(tokens, q) for q in QUESTIONS]
    for one in answerer.answer_batch(asked, max_new_tokens=2, evidence=True):
        assert sum(map(float, one.evidence.weights[0])) == pytest.approx(1, abs=1e-4)


def test_rows_are_shared_up_to_where_any_differs():
    assert shared_rows([[1, 2, 3, 4], [1, 2, 3, 4]]) == 4
    assert shared_rows([[1, 2, 3, 4], [1, 2, 9, 4], [1, 2, 3]]) == 2
    assert shared_rows([[1, 2], [3, 2]]) == 0
    assert shared_rows([[], [1]]) == 0
    assert shared_rows([[7, 8]]) == 2
