"""VqaPipeline: answers, kept tokens, batches, streaming, and what it refuses."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest
import torch
from samples import frame

from tosa_ros import NoMerging, PiToMe, ToFu, ToMe, ToSA, VqaPipeline
from tosa_ros.errors import FrameError, ModelError, QuestionError
from tosa_ros.frames import DOUBTS_IN_WORDS, DepthDoubt
from tosa_ros.vlm.untrained import write_checkpoint


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp('pipeline') / 'model', seed=2)


@pytest.fixture
def pipeline(path):
    return VqaPipeline.from_pretrained(path, merging=ToSA(keep=0.25))


def count_passes(pipeline):
    passes = []
    tower = pipeline.encoder.half.vision_tower
    tower.embeddings.register_forward_hook(lambda m, a, out: passes.append(out.shape[0]))
    return passes


def test_an_answer_says_what_it_took(pipeline):
    answer = pipeline.ask([frame(0), frame(1)], 'How many?', max_new_tokens=6)
    assert (answer.tokens_before, answer.tokens_after) == (72, 18)
    assert answer.spatial == 'metric'
    assert answer.new_tokens <= 6
    assert min(answer.vision_ms, answer.prefill_ms, answer.decode_ms) > 0
    assert answer.to_dict()['question'] == 'How many?'
    assert pipeline.ask([frame(0), frame(1, depth=False)], 'How many?').spatial == 'none'


def test_an_answer_says_what_is_doubtful_of_its_depth(pipeline):
    aligned = replace(frame(1), doubts=DepthDoubt.ALIGNED)
    assert pipeline.ask([frame(0)], 'How many?').note == ''
    assert pipeline.ask(aligned, 'How many?').note == DOUBTS_IN_WORDS[DepthDoubt.ALIGNED]
    far = replace(frame(0), depth_m=np.full((60, 80), 30, np.float32))
    answer = pipeline.ask([frame(0), aligned, far, frame(2, depth=False)], 'How many?')
    assert answer.to_dict()['note'].split('; ') == [
        'no depth in 1 of 4 frames: image tokens were merged by appearance alone',
        f'{DOUBTS_IN_WORDS[DepthDoubt.ALIGNED]} in 1 of 4 frames',
        f'{DOUBTS_IN_WORDS[DepthDoubt.SCALE]} in 1 of 4 frames',
    ]


def test_a_second_question_runs_no_vision(pipeline):
    passes = count_passes(pipeline)
    frames = [frame(0), frame(1)]
    first = pipeline.ask(frames, 'How many?')
    assert passes == [2]
    again = pipeline.ask(frames, 'How many?')
    assert passes == [2]
    assert again.vision_ms == 0
    assert again.text == first.text
    pipeline.ask([frames[1], frame(2), frames[0]], 'Which?')
    assert passes == [2, 1]
    pipeline.merging = ToMe(keep=0.25)
    pipeline.ask(frames, 'How many?')
    assert passes == [2, 1, 2]


def test_one_frame_given_twice_is_encoded_once(pipeline):
    passes = count_passes(pipeline)
    one = frame()
    assert pipeline.ask([one, one], 'Same?').tokens_after == 18
    assert passes == [1]


def test_tokens_go_with_their_frame(pipeline):
    short_lived = frame()
    pipeline.ask(short_lived, 'What?')
    assert len(pipeline._tokens) == 1
    del short_lived
    gc.collect()
    assert len(pipeline._tokens) == 0


@pytest.mark.parametrize('method', [NoMerging(), ToMe(), ToFu(), PiToMe(), ToSA()], ids=repr)
def test_a_batch_answers_as_one_by_one(path, method):
    pipeline = VqaPipeline.from_pretrained(path, merging=method)
    requests = [
        (frame(0), 'What is on the table?'),
        ([frame(1), frame(2)], 'Which of the two chairs is nearer?'),
        ([frame(3, depth=False)], 'Why?'),
    ]
    together = pipeline.answer_batch(requests, max_new_tokens=10)
    alone = [pipeline.ask(*request, max_new_tokens=10) for request in requests]
    assert [a.text for a in together] == [a.text for a in alone]
    assert [a.tokens_after for a in together] == [a.tokens_after for a in alone]


def test_streaming_gives_the_same_words(pipeline):
    one = frame()
    pieces = list(pipeline.stream(one, 'What is here?', max_new_tokens=12))
    assert ''.join(pieces) == pipeline.ask(one, 'What is here?', max_new_tokens=12).text
    assert len(pieces) > 1


def test_a_stream_returns_the_whole_answer(pipeline):
    one = frame()
    stream = pipeline.stream(one, 'What is here?', max_new_tokens=12)
    pieces = []
    while True:
        try:
            pieces.append(next(stream))
        except StopIteration as end:
            answer = end.value
            break
    assert answer.text == ''.join(pieces)
    assert answer.tokens_after == 9
    assert answer.new_tokens == pipeline.ask(one, 'What is here?', max_new_tokens=12).new_tokens
    assert min(answer.vision_ms, answer.prefill_ms, answer.decode_ms) > 0


def test_depth_changes_what_merges(pipeline):
    with_depth = frame(0)
    without = with_depth.without_depth()
    sources = [t.source for t in pipeline.visual_tokens([with_depth, without])]
    assert not np.array_equal(*sources)
    pipeline.merging = ToMe(keep=0.25)
    sources = [t.source for t in pipeline.visual_tokens([with_depth, without])]
    assert np.array_equal(*sources)


def test_bfloat16_answers(path):
    pipeline = VqaPipeline.from_pretrained(path, merging=ToSA(), dtype=torch.bfloat16)
    tokens = pipeline.visual_tokens(frame())[0]
    assert tokens.embeddings.dtype == torch.bfloat16
    assert pipeline.ask(frame(), 'What?', max_new_tokens=5).new_tokens > 0


def test_no_requests_no_answers(pipeline):
    assert pipeline.answer_batch([]) == []
    assert pipeline.answerer.answer_batch([]) == []


def test_a_refused_question_costs_no_vision(pipeline):
    passes = count_passes(pipeline)
    with pytest.raises(QuestionError, match='wanted text'):
        pipeline.ask(frame(), '  ')
    with pytest.raises(QuestionError, match='100,000 characters'):
        pipeline.stream(frame(), 'x' * 100_000)
    with pytest.raises(FrameError, match='no frames'):
        pipeline.ask([], 'What?')
    assert passes == []


def test_unknown_checkpoints_are_refused():
    with pytest.raises(ModelError, match='is not a folder'):
        VqaPipeline.from_pretrained('/nowhere/at/all')


def test_a_replaced_frame_is_another_frame(pipeline):
    passes = count_passes(pipeline)
    one = frame()
    pipeline.ask(one, 'What?')
    pipeline.ask(replace(one), 'What?')
    assert passes == [1, 1]
