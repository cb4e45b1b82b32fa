"""vLLM as the language model. Where it is installed, in an environment of its own, all of it."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip('transformers')
from transformers import AutoModelForCausalLM

from benchmarks.engines import packed_answerer
from tosa_ros.assets import embedded_model
from tosa_ros.engines.vllm import NOTE, VllmAnswerer, write_language_model
from tosa_ros.errors import ModelError, QuestionError
from tosa_ros.frames import Frame, Intrinsics
from tosa_ros.merging import NoMerging, ToSA
from tosa_ros.pipeline import VqaPipeline
from tosa_ros.vlm import Answerer, VisionEncoder
from tosa_ros.vlm.untrained import write_checkpoint

HERE = importlib.util.find_spec('vllm') is not None
needs_vllm = pytest.mark.skipif(not HERE, reason='vLLM wants an environment of its own')
QUESTIONS = (
    'What colour is the ball?', 'How many cubes are there?', 'Is there a red cone?',
    'What is left of the lamp?', 'Which is nearer, the cube or the ball?',
)  # fmt: skip


@pytest.mark.parametrize('family', ['llava_onevision', 'llava'])
def test_the_language_model_is_a_checkpoint_of_its_own(tmp_path, family):
    local = Answerer.from_pretrained(write_checkpoint(tmp_path / 'model', family=family))
    (tmp_path / 'language').mkdir()
    write_language_model(local.model, tmp_path / 'language')
    again, told = AutoModelForCausalLM.from_pretrained(
        tmp_path / 'language', output_loading_info=True
    )
    assert not told['missing_keys']
    assert not told['unexpected_keys']
    ids = torch.arange(5, 25)[None]
    with torch.inference_mode():
        assert torch.equal(again(ids).logits, local.model(ids).logits)


@pytest.mark.skipif(HERE, reason='vLLM is installed')
def test_without_vllm_one_line_says_so():
    with pytest.raises(ModelError, match='vLLM is not installed here'):
        VllmAnswerer.from_pretrained(embedded_model())


@pytest.mark.parametrize('family', ['qwen2_vl', 'qwen3_vl', 'paligemma'])
def test_prompts_that_vllm_would_read_otherwise_are_refused(tmp_path, family, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'vllm', SimpleNamespace())
    folder = write_checkpoint(tmp_path / 'model', family=family)
    with pytest.raises(ModelError, match='read in a way of its own'):
        VllmAnswerer.from_pretrained(folder)


def view(seed):
    """A frame of coloured blocks before a wall."""
    rng = np.random.default_rng(seed)
    rgb = np.full((96, 128, 3), 180, np.uint8)
    depth = np.full((96, 128), 3.0, np.float32)
    for _ in range(4):
        top, left = rng.integers(0, 64, 2)
        rgb[top : top + 30, left : left + 40] = rng.integers(0, 255, 3)
        depth[top : top + 30, left : left + 40] = rng.uniform(0.5, 2.5)
    return Frame(rgb, depth_m=depth, intrinsics=Intrinsics(90, 90, 63.5, 47.5, 128, 96))


@pytest.fixture(scope='module')
def pipelines():
    """The embedded model: (in vLLM, here with packed positions)."""
    encoder = VisionEncoder.from_pretrained(embedded_model(), dtype=torch.float32)
    there = VllmAnswerer.from_pretrained(
        embedded_model(), dtype=torch.float32, max_model_len=4096, kv_cache_memory_bytes=1 << 30
    )
    return VqaPipeline(encoder, there), VqaPipeline(encoder, packed_answerer())


@needs_vllm
def test_answers_are_those_of_packed_tokens(pipelines):
    """500 requests of one and two frames, merged and not."""
    vllm, packed = pipelines
    same = 0
    for method in (NoMerging(), ToSA(keep=0.25)):
        frames = [view(seed) for seed in range(25)]
        requests = [
            (frames[number : number + 1 + number % 2], question)
            for number in range(25)
            for question in (*QUESTIONS, *(q.replace('the', 'a') for q in QUESTIONS))
        ]
        vllm.merging = packed.merging = method
        theirs = vllm.answer_batch(requests, max_new_tokens=12)
        for start in range(0, len(requests), 50):
            ours = packed.answer_batch(requests[start : start + 50], max_new_tokens=12)
            pairs = zip(theirs[start : start + 50], ours, strict=True)
            same += sum(a.text == b.text for a, b in pairs)
        assert all(NOTE in one.note for one in theirs)
        assert len({one.text for one in theirs}) > 5
    print(f'{same} of 500 texts are equal')
    assert same >= 490


@needs_vllm
def test_ask_and_stream_give_the_batchs_answer(pipelines):
    vllm, _ = pipelines
    frame = view(0)
    answers = vllm.answer_batch([(frame, question) for question in QUESTIONS])
    assert [vllm.ask(frame, question).text for question in QUESTIONS] == [a.text for a in answers]
    assert ''.join(vllm.stream(frame, QUESTIONS[0])) == answers[0].text
    assert vllm.answerer.answer_batch([]) == []
    many = vllm.ask_many([(frame, question) for question in QUESTIONS], progress=False)
    assert [answer.text for answer in many] == [a.text for a in answers]


@needs_vllm
def test_too_long_prompts_and_other_options_are_refused(pipelines):
    vllm, _ = pipelines
    with pytest.raises(QuestionError, match='the model reads'):
        vllm.ask([view(0)] * 80, 'What?')
    with pytest.raises(QuestionError, match='max_new_tokens alone'):
        vllm.ask(view(0), 'What?', evidence=True)
