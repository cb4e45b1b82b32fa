"""Predictions made anywhere: every format, ids as text, and nothing scored that was not said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tosa_ros.errors import DataError
from tosa_ros.evaluation.benchmarks import load_benchmark
from tosa_ros.evaluation.predictions import labels_of, read_predictions

QUESTIONS = [1, 'b']


def written(folder, value, name='p.json'):
    path = folder / name
    lines = value if path.suffix == '.jsonl' else [value]
    path.write_text('\n'.join(map(json.dumps, lines)))
    return path


@pytest.mark.parametrize(
    'value',
    [
        {'1': 'a cup', 'b': '2'},
        {'1': 'a cup', 'b': 2},
        [{'question_id': 1, 'answer': 'a cup'}, {'question_id': 'b', 'answer': '2'}],
        [
            {'question_id': '1', 'answer': 'a cup', 'frames': 3},
            {'question_id': 'b', 'answer': '2'},
        ],
        [{'questionId': '1', 'prediction': 'a cup'}, {'questionId': 'b', 'prediction': '2'}],
        [
            {'id': 1, 'prediction': 'a cup', 'ground_truth': 'mug', 'question_type': 'x'},
            {'id': 'b', 'prediction': 2.0, 'ground_truth': '3', 'question_type': 'x'},
        ],
        [
            {'question_id': '1', 'scene_id': 's', 'answer_top10': ['a cup'], 'bbox': []},
            {'question_id': 'b', 'scene_id': 's', 'answer_top10': ['2'], 'bbox': []},
        ],
        [
            {'question_id': 1, 'prompt': 'What?', 'text': 'a cup', 'answer_id': 'x'},
            {'question_id': 'b', 'prompt': 'What?', 'text': '2', 'answer_id': 'y'},
        ],
    ],
)
@pytest.mark.parametrize('name', ['p.json', 'p.jsonl'])
def test_formats(tmp_path, value, name):
    if name == 'p.jsonl' and isinstance(value, dict):
        pytest.skip('an object is no list of lines')
    read = read_predictions(written(tmp_path, value, name), QUESTIONS)
    assert read == ({1: 'a cup', 'b': '2'}, [])


def test_what_is_odd_is_said(tmp_path):
    value = [
        {'question_id': 'x', 'answer_top10': ['y']},
        {'question_id': 1, 'answer_top10': ['first', 'second']},
        {'question_id': 'b', 'answer_top10': []},
    ]
    path = written(tmp_path, value)
    read = read_predictions(path, QUESTIONS)
    assert read.predictions == {1: 'first'}
    assert read.predictions[1].answers == ('first', 'second')
    assert read.problems == [
        f"{path}: 1 answers are to no question of these, and not scored: 'x'",
        f"{path}: 1 questions are named, but nothing was said: 'b'",
    ]


def test_ranked_answers_are_scored_as_scanqa_does(tmp_path, monkeypatch):
    monkeypatch.setattr('tosa_ros.evaluation.benchmarks.scanqa.caption_scores', lambda *texts: [])
    record = {'scene_id': 's', 'question': 'What?', 'answers': ['cup', 'mug']}
    data = written(tmp_path, [{**record, 'question_id': n} for n in 'abc'], 'q.json')
    benchmark = load_benchmark('scanqa', data)
    said = {'a': ['cup', 'x'], 'b': ['x', *'y' * 8, 'mug'], 'c': [*'x' * 10, 'cup']}
    records = [{'question_id': qid, 'answer_top10': one} for qid, one in said.items()]
    read = read_predictions(written(tmp_path, records), 'abc')
    scores = {s.name: s.overall for s in benchmark.score(read.predictions)}
    assert scores == {
        'ScanQA EM@1 (raw)': pytest.approx(100 / 3),
        'ScanQA EM@10 (raw)': pytest.approx(200 / 3),
    }
    submission = benchmark.submission(read.predictions)
    assert {one['question_id']: one['answer_top10'] for one in submission} == said


def test_a_methods_folder_of_a_run(tmp_path):
    (tmp_path / 'tosa-0.25').mkdir()
    written(tmp_path / 'tosa-0.25', [{'question_id': 1, 'answer': 'a'}], 'answers.jsonl')
    assert read_predictions(tmp_path / 'tosa-0.25', QUESTIONS).predictions == {1: 'a'}
    assert labels_of([tmp_path / 'tosa-0.25']) == ['tosa-0.25']
    with pytest.raises(DataError, match=r'answers\.jsonl: no such file'):
        read_predictions(tmp_path, QUESTIONS)


def test_the_same_answer_twice_is_one(tmp_path):
    one = {'question_id': 1, 'answer': 'a'}
    assert read_predictions(written(tmp_path, [one, one]), QUESTIONS).predictions == {1: 'a'}


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (
            {'c': 'a', 'd': 'b'},
            "answers none of these questions: its ids are such as 'c', 'd', th",
        ),
        ({}, 'wanted texts by question id'),
        ({'questions': [{}]}, 'wanted texts by question id'),
        ([], 'an empty list'),
        (['a cup'], 'record 0 is "a cup"; wanted an object'),
        ([{'answer': 'a'}], 'record 0: has answer; wanted exactly one of question_id, quest'),
        ([{'id': 1, 'question_id': 2, 'answer': 'a'}], 'has question_id and id; wanted exactly'),
        # Which of them is the truth? Scoring that one would be right throughout.
        ([{'id': 1, 'answer': 'a', 'prediction': 'b'}], 'has answer and prediction; wanted exa'),
        ([{'id': 1, 'answer': 'a', 'response': 'b'}], 'has answer and response; wanted exactly'),
        ([{'id': 1, 'answer': ['a']}], "field 'answer' is a list; wanted text"),
        ([{'id': 1, 'answer': {'a': 1}}], 'question 1: .* is no text'),
        ([{'id': 1, 'answer': True}], 'question 1: True is no text'),
        ([{'id': 1, 'answer': float('nan')}], 'question 1: nan is no text'),
        ([{'id': 1, 'answer': 'a'}, {'id': '1', 'answer': 'b'}], 'question 1 is answered twice'),
        ([{'id': None, 'answer': 'a'}], "field 'id' is null"),
    ],
)
def test_files_that_do_not_say_what_was_predicted(tmp_path, value, message):
    with pytest.raises(DataError, match=message):
        read_predictions(written(tmp_path, value), QUESTIONS)


def test_an_object_that_answers_twice(tmp_path):
    path = tmp_path / 'p.json'
    path.write_text('{"1": "a", "1": "b"}')
    with pytest.raises(DataError, match="one object has '1' twice"):
        read_predictions(path, QUESTIONS)


@pytest.mark.parametrize(
    ('paths', 'labels'),
    [
        (['/r/new.json', '/r/old.json'], ['new', 'old']),
        (['/r/a/mine.json', '/r/b/mine.json'], ['a-mine', 'b-mine']),
        (['/r/tosa-0.25/predictions.json', '/r/none/answers.jsonl'], ['tosa-0.25', 'none']),
        (['/r/tosa/predictions.json', '/s/tosa/predictions.json'], ['r-tosa', 's-tosa']),
        (['/r/x.json', '/r/x.jsonl'], ['1-x', '2-x']),
    ],
)
def test_labels_are_no_two_the_same(paths, labels):
    assert labels_of([Path(path) for path in paths]) == labels


def test_a_file_against_itself_is_refused():
    with pytest.raises(DataError, match='is named twice'):
        labels_of([Path('a.json'), Path('./a.json')])
