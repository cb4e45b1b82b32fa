"""Own questions: what their file may hold, ids, options, answers that are kept back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from tosa_ros.errors import DataError, DepthError, FrameError
from tosa_ros.evaluation.benchmarks import load_benchmark
from tosa_ros.evaluation.survey import survey


@pytest.fixture
def jsonl(tmp_path, frames):
    for name, frame in zip('ab', frames, strict=False):
        Image.fromarray(frame.rgb).save(tmp_path / f'{name}.png')
    depth = np.nan_to_num(frames[0].depth_m * 5000).round().astype(np.uint16)
    Image.fromarray(depth).save(tmp_path / 'a-depth.png')

    def write(*records):
        path = tmp_path / 'q.jsonl'
        path.write_text('\n'.join(json.dumps(record) for record in records) + '\n')
        return path

    return write


ASKED = {'question': 'What?', 'answer': 'a cup'}


def test_jsonl(jsonl, frames):
    view = {
        'image': 'a.png',
        'depth': 'a-depth.png',
        'depth_scale': 5000,
        'intrinsics': {'fx': 40, 'fy': 40, 'cx': 15.5, 'cy': 11.5},
        'pose': np.eye(4).tolist(),
    }
    path = jsonl(
        {**view, **ASKED, 'category': 'things', 'id': 'x'},
        {**view, 'question': 'Why?', 'answer': ['so', 'thus']},
        {'images': ['a.png', 'b.png'], **ASKED},
    )
    benchmark = load_benchmark('jsonl', path)
    assert [q.id for q in benchmark.questions] == ['x', 1, 2]
    assert [q.category for q in benchmark.questions] == ['things', '', '']
    assert len(benchmark.by_episode()) == 2  # the first two look at the same frame
    (frame,) = benchmark.frames(benchmark.questions[0].episode)
    np.testing.assert_allclose(frame.depth_m, frames[0].depth_m, atol=2e-4)
    assert frame.intrinsics == frames[0].intrinsics
    np.testing.assert_array_equal(frame.pose, np.eye(4))
    assert len(benchmark.frames(benchmark.questions[2].episode)) == 2
    exact, f1 = benchmark.score({'x': 'cup', 1: 'thus', 2: 'red cup'})
    assert (exact.overall, exact.name) == (pytest.approx(200 / 3), 'Exact match (normalised)')
    assert f1.values[2] == pytest.approx(200 / 3)


def test_jsonl_of_folders(openeqa, frames):
    path = openeqa.with_name('own.jsonl')
    episode = 'frames/scannet-v0/002-scannet-scene0709_00'
    path.write_text(json.dumps({'episode': episode, **ASKED}))
    benchmark = load_benchmark('jsonl', path)
    assert len(next(iter(benchmark)).frames) == 3
    path.write_text(json.dumps({'episode': episode, 'layout': 'tum', **ASKED}), 'utf-16')
    benchmark = load_benchmark('jsonl', path)
    with pytest.raises(FrameError, match=r'rgb\.txt: no such file'):
        next(iter(benchmark))
    path.write_bytes(
        b'\xef\xbb\xbf' + json.dumps({'episode': episode, **ASKED}).encode() + b'\r\n'
    )
    assert len(next(iter(load_benchmark('jsonl', path, layout='openeqa'))).frames) == 3


@pytest.mark.parametrize(
    ('record', 'message'),
    [
        ({**ASKED}, "record 0: field 'image' is missing"),
        (
            {'image': 'a.png', **ASKED, 'answer': []},
            "record 0: field 'answer' is \\[\\]; wanted at",
        ),
        ({'image': 'a.png', **ASKED, 'answer': True}, "record 0: field 'answer' is true"),
        ({'image': 'a.png', **ASKED, 'answer': ''}, "record 0: field 'answer' is empty"),
        ({'image': 'a.png', 'imgae': 1, **ASKED}, "record 0: unknown field 'imgae'"),
        ({'images': ['a.png', 'b.png'], 'depth': 'd.png', **ASKED}, "'depth' has 1 entries for 2"),
        ({'image': 'a.png', 'intrinsics': [1, 2], **ASKED}, r"'intrinsics' is \[1, 2\]"),
        ({'image': 'a.png', 'pose': [[1]], **ASKED}, "'pose' is not a 4x4"),
        ({'image': 'a.png', 'layout': 'tum', **ASKED}, "field 'layout' goes with 'episode'"),
    ],
)
def test_jsonl_malformed(jsonl, record, message):
    with pytest.raises(DataError, match=message):
        load_benchmark('jsonl', jsonl(record))


@pytest.mark.parametrize('scale', [0, -1])
def test_a_depth_scale_that_is_none_is_refused(jsonl, openeqa, scale):
    record = {'image': 'a.png', 'depth': 'a-depth.png', **ASKED}
    benchmarks = [
        load_benchmark('jsonl', jsonl({**record, 'depth_scale': scale})),
        load_benchmark(
            'jsonl',
            jsonl(
                {'episode': 'frames/hm3d-v0/000-hm3d-BFRyYbPCCPE', **ASKED, 'depth_scale': scale}
            ),
        ),
        load_benchmark('openeqa', openeqa, depth_scale=scale),
    ]
    for benchmark in benchmarks:
        for episode in benchmark.by_episode():
            with pytest.raises(DepthError, match='depth scale'):
                benchmark.frames(episode)[0]


def test_json_lines_end_at_line_feeds_alone(jsonl):
    text = 'one\u2028two\x85three'
    path = jsonl()
    record = {'image': 'a.png', 'question': text, 'answer': 'a'}
    path.write_text(f'{json.dumps(record, ensure_ascii=False)}\n', encoding='utf-8')
    assert load_benchmark('jsonl', path).questions[0].text == text


def test_jsonl_missing_image_is_named(jsonl):
    benchmark = load_benchmark('jsonl', jsonl({'image': 'none.png', **ASKED}))
    (fault,) = survey(benchmark)['missing'].values()
    assert 'record 0: no such file' in fault
    assert 'none.png' in fault
    with pytest.raises(FrameError, match=r'none\.png'):
        next(iter(benchmark))


@pytest.mark.parametrize(
    ('ids', 'named'),
    [
        ((1, '1'), "question ids 1 and '1' are one as text and stand"),
        (('1', 1), "question ids '1' and 1 are one as text and stand"),
        (('a', 'a'), "question id 'a' stands"),
    ],
)
def test_an_id_of_two_questions_is_refused(jsonl, ids, named):
    first, second = (
        {'image': 'a.png', **ASKED, 'question': f'{n}?', 'id': i} for n, i in enumerate(ids)
    )
    with pytest.raises(DataError, match=f"{named} for two questions, '0"):
        load_benchmark('jsonl', jsonl(first, second))
    with pytest.raises(DataError, match='question id 1 stands for two'):
        load_benchmark('jsonl', jsonl({**first, 'id': 1}, {'image': 'a.png', **ASKED}))


CHOICE = {'images': ['a.png', 'b.png'], 'question': 'Which?', 'options': ['mug', 'cup']}
PROMPT = "Which?\nA. mug\nB. cup\nAnswer with the option's letter from the given choices directly."


@pytest.mark.parametrize(
    ('options', 'answer'),
    [
        (['mug', 'cup'], 'B'),
        (['mug', 'cup'], '(B)'),
        (['mug', 'cup'], 'the cup'),
        (['A. mug', 'B. cup'], 'B'),
        (['(A) mug', '(B) cup'], 'B. cup'),
    ],
)
def test_a_choice_is_asked_with_its_options_and_scored_by_what_was_chosen(jsonl, options, answer):
    benchmark = load_benchmark('jsonl', jsonl({**CHOICE, 'options': options, 'answer': answer}))
    (question,) = benchmark.questions
    assert question.answers == ('B. cup',)
    assert benchmark.prompt(question) == PROMPT
    assert benchmark.prompt(question, '<{question}>') == f'<{PROMPT}>'
    assert len(benchmark.frames(question.episode)) == 2
    assert benchmark.guessing() == {'': 50.0, 'all': 50.0}
    for said, worth in (('B', 100), ('(b)', 100), ('B. cup', 100), ('A cup.', 100), ('', 0)):
        (score,) = benchmark.score({0: said})
        assert (score.name, score.overall) == ('Choice accuracy (letter or text)', worth), said


def test_a_question_that_lists_its_own_options_is_asked_as_it_is(jsonl):
    asked = {**CHOICE, 'question': 'Which? A. mug B. cup', 'options': ['A', 'B'], 'answer': 'B'}
    benchmark = load_benchmark('jsonl', jsonl(asked))
    assert benchmark.prompt(benchmark.questions[0]) == 'Which? A. mug B. cup'
    assert benchmark.questions[0].answers == ('B',)
    assert benchmark.score({0: 'The answer is (B).'})[0].overall == 100


def test_choices_beside_open_questions(jsonl):
    benchmark = load_benchmark(
        'jsonl', jsonl({**CHOICE, 'answer': 'mug'}, {'image': 'a.png', **ASKED})
    )
    scores = {s.name: (s.overall, len(s.values)) for s in benchmark.score({0: 'A', 1: 'B'})}
    assert scores == {
        'Right answers (exact match, or choice)': (50, 2),
        'Choice accuracy (letter or text)': (100, 1),
        'Exact match (normalised)': (0, 1),
        'Token F1': (0, 1),
    }
    assert benchmark.guessing() == {}


def test_numbers_are_answers_and_options(jsonl):
    benchmark = load_benchmark(
        'jsonl',
        jsonl(
            {'image': 'a.png', 'question': 'How far?', 'answer': 2.5},
            {'image': 'a.png', 'question': 'How far?', 'answers': [-3.5, 4.0]},
            {**CHOICE, 'options': [2, 3], 'answer': 3},
        ),
    )
    assert [q.answers for q in benchmark.questions] == [('2.5',), ('-3.5', '4'), ('B. 3',)]
    right = benchmark.score({0: '2.5', 1: '4', 2: '3'})[0]
    wrong = benchmark.score({0: '25', 1: '35', 2: '2'})[0]
    assert (right.overall, wrong.overall) == (100, 0)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'answer': 1}, "field 'answer' is '1'; wanted the letter or the text of one of the opt"),
        ({'answer': 'plate'}, "field 'answer' is 'plate'; wanted the letter or"),
        ({'answer': 'mug', 'options': ['mug']}, "field 'options': 1 options; wanted 2"),
        ({'answer': 'mug', 'options': ['mug', 'Mug']}, "field 'options': two options are 'mug'"),
        ({'answer': 'mug', 'options': []}, "field 'options' is .*; wanted at least one"),
        (
            {'answer': 'mug', 'options': 'mug, cup'},
            'field \'options\' is "mug, cup"; wanted a list',
        ),
    ],
)
def test_options_that_are_no_choice(jsonl, change, message):
    with pytest.raises(DataError, match=f'record 0: {message}'):
        load_benchmark('jsonl', jsonl({**CHOICE, **change}))
