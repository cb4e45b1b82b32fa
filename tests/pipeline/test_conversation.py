"""Conversations: each turn reads its own words alone, and knows those before it."""

from __future__ import annotations

import shutil

import pytest
import torch
from samples import frame

from tosa_ros import ToSA, VqaPipeline
from tosa_ros.assets import embedded_model
from tosa_ros.errors import QuestionError
from tosa_ros.synthetic import single
from tosa_ros.vlm.untrained import write_checkpoint

QUESTIONS = ('is there a red ball?', 'what colour is the sofa?', 'how many chairs are there?')


@pytest.fixture(scope='module')
def pipeline():
    return VqaPipeline.from_pretrained(embedded_model(), dtype=torch.float32)


@pytest.fixture(scope='module')
def seen():
    return [single('val', number, questions=1).frame for number in range(2)]


def rows_read(pipeline):
    read = []
    decoder = pipeline.answerer.model.get_decoder()
    hook = decoder.register_forward_pre_hook(
        lambda module, args, how: read.append(
            (how['input_ids'] if how.get('inputs_embeds') is None else how['inputs_embeds'])
            .shape[:2]
            .numel()
        ),
        with_kwargs=True,
    )
    return read, hook


@pytest.fixture
def even(tmp_path):
    """The embedded model with a template that writes what was said as it asks for it.

    OneVision's own asks behind 'assistant\n', and writes answers behind 'assistant \n'.
    """
    path = tmp_path / 'even'
    shutil.copytree(embedded_model(), path)
    template = path / 'chat_template.jinja'
    text = template.read_text()
    for old, new in (("['role'] + ' '", r"['role'] + '\n'"), (r"'\n' + part", 'part')):
        assert old in text
        text = text.replace(old, new)
    template.write_text(text)
    return VqaPipeline.from_pretrained(path, dtype=torch.float32)


def test_each_turn_reads_its_own_words_alone(even, seen):
    talk, count = even.chat(seen), even.answerer.prompt.tokenizer
    read, hook = rows_read(even)
    for number, question in enumerate(QUESTIONS):
        read.clear()
        answer = talk.ask(question)
        assert answer.text
        # The end of the turn before, then this question with what the template adds.
        own = count(f'<|im_end|><|im_start|>user\n{question}<|im_end|><|im_start|>assistant\n')
        if number:
            assert read[0] == len(own['input_ids'])
        else:
            assert read[0] > 2 * 64
        assert read[1:] == [1] * answer.new_tokens
    hook.remove()
    assert [asked for asked, _ in talk.history] == list(QUESTIONS)


def test_what_a_template_writes_otherwise_is_read_again(pipeline, seen):
    talk, prompt = pipeline.chat(seen), pipeline.answerer.prompt
    talk.ask(QUESTIONS[0])
    first = prompt.ids(QUESTIONS[0], 2)
    second = prompt.ids(QUESTIONS[1], 2, history=talk.history)
    pairs = enumerate(zip(first, second, strict=False))
    same = next(number for number, (one, other) in pairs if one != other)
    read, hook = rows_read(pipeline)
    talk.ask(QUESTIONS[1])
    hook.remove()
    assert read[0] == len(second) - same
    assert same > len(first) - 3


def test_a_talk_is_its_full_history_read_anew(pipeline, seen):
    talk = pipeline.chat(seen, max_new_tokens=8)
    for number, question in enumerate(QUESTIONS):
        before = tuple(talk.history)
        answer = talk.ask(question)
        assert len(before) == number
        pipeline.answerer.decoder.prefix.forget()
        anew = pipeline.ask(seen, question, history=before, max_new_tokens=8)
        assert anew.text == answer.text


def test_other_questions_in_between_change_no_word(pipeline, seen):
    alone, between = pipeline.chat(seen), pipeline.chat(seen)
    said = [alone.ask(question).text for question in QUESTIONS]
    for question, text in zip(QUESTIONS, said, strict=True):
        assert between.ask(question).text == text
        pipeline.ask(seen[0], 'is there a lamp?')


def test_an_answer_that_is_not_waited_for_is_no_part_of_the_talk(pipeline, seen):
    talk = pipeline.chat(seen)
    pieces = list(talk.stream(QUESTIONS[0]))
    assert talk.history == [(QUESTIONS[0], ''.join(pieces))]
    stream = talk.stream(QUESTIONS[1])
    next(stream)
    stream.close()
    assert len(talk.history) == 1
    expected = pipeline.chat(seen)
    expected.ask(QUESTIONS[0])
    assert talk.ask(QUESTIONS[2]).text == expected.ask(QUESTIONS[2]).text


def test_options_are_those_of_the_talk_or_of_one_turn(pipeline, seen):
    talk = pipeline.chat(seen, max_new_tokens=1, evidence=True)
    first, second = talk.ask(QUESTIONS[1]), talk.ask(QUESTIONS[0], evidence=False)
    assert first.new_tokens <= 1
    assert len(first.evidence.weights) == 2
    assert second.evidence is None
    with pytest.raises(QuestionError, match='history: a conversation has its own'):
        pipeline.chat(seen, history=[])


def test_a_model_for_single_questions_says_so(tmp_path):
    path = write_checkpoint(tmp_path / 'model', family='paligemma', seed=1)
    pipeline = VqaPipeline.from_pretrained(path, merging=ToSA(keep=0.5))
    talk = pipeline.chat(frame())
    talk.ask('What is there?', max_new_tokens=2)
    with pytest.raises(QuestionError, match='history: PaliGemma was made for single questions'):
        talk.ask('And there?')
    with pytest.raises(QuestionError, match='system: PaliGemma was made for single questions'):
        pipeline.ask(frame(), 'What?', system='Be brief.')
