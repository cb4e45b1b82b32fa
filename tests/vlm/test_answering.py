"""Drawn words and stop strings: as transformers has them, alone, streamed and in batches."""

from __future__ import annotations

import pytest
import torch

from tosa_ros.errors import QuestionError
from tosa_ros.merging import ToSA
from tosa_ros.vlm import Answerer, Answering, VisionEncoder

QUESTION = 'How many mugs are on the desk?'
DRAWN = {'temperature': 0.9, 'top_p': 0.8, 'seed': 5, 'max_new_tokens': 12}


@pytest.fixture
def answerer(checkpoint):
    return Answerer.from_pretrained(checkpoint, dtype=torch.float32)


@pytest.fixture
def tokens(checkpoint, make_frame):
    encoder = VisionEncoder.from_pretrained(
        checkpoint, merging=ToSA(keep=0.5), dtype=torch.float32
    )
    return encoder.encode([make_frame(0), make_frame(1)])


def generated(answerer, tokens, **how):
    """The ids that transformers' own generate gives."""
    rows = answerer.builder.rows(tokens, QUESTION)
    return answerer.model.generate(
        inputs_embeds=rows.embeds[None],
        attention_mask=torch.ones(1, len(rows)),
        position_ids=rows.positions[None],
        **how,
    )[0].tolist()


@pytest.mark.parametrize(
    ('temperature', 'top_p', 'seed'), [(0.7, 1.0, 0), (1.0, 0.5, 1), (1.5, 0.9, 2)]
)
def test_drawn_words_are_transformers_own(answerer, tokens, temperature, top_p, seed):
    torch.manual_seed(seed)
    ids = generated(
        answerer,
        tokens,
        max_new_tokens=12,
        do_sample=True,
        temperature=temperature,
        top_p=top_p,
        top_k=0,
    )
    said = answerer.answer(
        tokens, QUESTION, max_new_tokens=12, temperature=temperature, top_p=top_p, seed=seed
    )
    assert said.text == answerer.prompt.text_of(ids).strip()
    assert said.text != answerer.answer(tokens, QUESTION, max_new_tokens=12).text


def test_the_seed_alone_decides(answerer, tokens):
    said = answerer.answer(tokens, QUESTION, **DRAWN)
    torch.manual_seed(99)
    assert answerer.answer(tokens, QUESTION, **DRAWN).text == said.text
    assert ''.join(answerer.stream(tokens, QUESTION, **DRAWN)) == said.text
    others = {answerer.answer(tokens, QUESTION, **{**DRAWN, 'seed': n}).text for n in range(3)}
    assert len(others | {said.text}) > 2


def test_a_batch_draws_as_one_by_one(answerer, tokens):
    requests = [(tokens, QUESTION), (tokens[:1], 'Why?'), (tokens, 'What is near?')]
    alone = [answerer.answer(*request, **DRAWN).text for request in requests]
    assert [g.text for g in answerer.answer_batch(requests, **DRAWN)] == alone
    assert [g.text for g in answerer.answer_batch(requests[::2], **DRAWN)] == alone[::2]


def test_drawing_from_the_likeliest_alone_is_greedy(answerer, tokens):
    greedy = answerer.answer(tokens, QUESTION, max_new_tokens=8)
    drawn = answerer.answer(tokens, QUESTION, max_new_tokens=8, temperature=2.0, top_p=1e-9)
    assert drawn.text == greedy.text


def test_a_stop_string_ends_the_answer_where_transformers_ends_it(answerer, tokens):
    whole = answerer.answer(tokens, QUESTION, max_new_tokens=24)
    strings = [whole.text[start : start + 3] for start in range(2, len(whole.text) - 3)]
    strings = [one for one in strings if one.isascii() and one.isprintable()]
    assert len(strings) > 3
    for string in strings[:: len(strings) // 3]:
        ids = generated(
            answerer,
            tokens,
            max_new_tokens=24,
            do_sample=False,
            stop_strings=[string],
            tokenizer=answerer.prompt.tokenizer,
        )
        said = answerer.answer(tokens, QUESTION, max_new_tokens=24, stop_strings=[string, 'xyzzy'])
        assert said.new_tokens == len(ids)
        assert said.text == whole.text[: whole.text.index(string)].strip()


def test_streamed_pieces_never_show_a_stop_string(answerer, tokens):
    whole = answerer.answer(tokens, QUESTION, max_new_tokens=24).text
    for start in range(1, len(whole) - 4, 3):
        string = whole[start : start + 4]
        how = {'max_new_tokens': 24, 'stop_strings': (string, whole[start : start + 2] + '\0')}
        pieces = list(answerer.stream(tokens, QUESTION, **how))
        assert ''.join(pieces) == answerer.answer(tokens, QUESTION, **how).text
        assert string not in ''.join(pieces)


def test_in_a_batch_each_answer_stops_by_itself(answerer, tokens):
    requests = [(tokens, QUESTION), (tokens[:1], 'Why?')]
    first, second = answerer.answer_batch(requests, max_new_tokens=16)
    string = next(
        first.text[i : i + 3]
        for i in range(3, len(first.text))
        if first.text[i : i + 3] not in second.text
    )
    how = {'max_new_tokens': 16, 'stop_strings': [string]}
    batch = answerer.answer_batch(requests, **how)
    assert [g.text for g in batch] == [answerer.answer(*one, **how).text for one in requests]
    assert batch[0].new_tokens < first.new_tokens
    assert batch[1].text == second.text


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'max_new_tokens': 0}, 'max_new_tokens: 0; wanted a whole number, 1 to 4096'),
        ({'temperature': -1}, 'temperature: -1; wanted a number, 0 to 10'),
        ({'temperature': float('nan')}, 'temperature: nan; wanted'),
        ({'temperature': 1, 'top_p': 0}, 'top_p: 0; wanted a number, above 0 and at most 1'),
        ({'temperature': 1, 'seed': 1.5}, 'seed: 1.5; wanted a whole number'),
        ({'top_p': 0.5}, 'top_p: 0.5 has no effect at temperature 0'),
        ({'seed': 3}, 'seed: 3 has no effect at temperature 0'),
        ({'stop_strings': 'abc'}, "stop_strings: 'abc'; wanted a list of texts"),
        ({'stop_strings': ['']}, r"stop_strings: \[''\]; wanted"),
    ],
)
def test_what_is_not_allowed_is_named(options, said):
    with pytest.raises(QuestionError, match=said):
        Answering(**options)
