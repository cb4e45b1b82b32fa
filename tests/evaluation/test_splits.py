"""Splits without answers: asked, written as submissions, and never scored."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tosa_ros.errors import DataError
from tosa_ros.evaluation.benchmarks import load_benchmark
from tosa_ros.evaluation.results import score_run
from tosa_ros.evaluation.runner import Outcome
from tosa_ros.evaluation.survey import survey

FIELD = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'field'
SCANQA_TEST = FIELD / 'ScanQA_v1.0_test_w_obj.json'
SITUATION = {'situation': 'I stand.', 'scene_id': 'scene0_00', 'question': 'What?'}
VSI = {'dataset': 'd', 'scene_name': 's', 'question_type': 'object_counting', 'question': 'How?'}
CHOICE = {'image': 'a.png', 'question': 'Which?', 'options': ['mug', 'cup']}
# Name of the file, its contents, the answer given, and the submission of it.
SPLITS = {
    'openeqa': (
        'q.json',
        [{'question_id': 'x', 'question': 'What?', 'category': 'c', 'episode_history': 'e'}],
        {'x': 'a cup'},
        [{'question_id': 'x', 'answer': 'a cup'}],
    ),
    'scanqa': (
        'ScanQA_v1.0_test_wo_obj.json',
        [{'question_id': 'test-scene0708-0', 'scene_id': 'scene0708_00', 'question': 'What?'}],
        {'test-scene0708-0': 'a cup'},
        [
            {
                'scene_id': 'scene0708_00',
                'question_id': 'test-scene0708-0',
                'answer_top10': ['a cup'],
                'bbox': [],
            }
        ],
    ),
    'sqa3d': (
        'v1_balanced_questions_test_scannetv2.json',
        {'questions': [{'question_id': 7, **SITUATION}]},
        {7: 'a cup'},
        [
            {
                'question_id': 7,
                **SITUATION,
                'answer': 'a cup',
                'agent_pos': None,
                'agent_rot': None,
            }
        ],
    ),
    'vsibench': (
        'test.jsonl',
        [{'id': 3, **VSI}],
        {3: '4'},
        [{'id': 3, 'question_type': 'object_counting', 'prediction': '4', 'ground_truth': None}],
    ),
    'gqa': (
        'test_balanced_questions.json',
        {'201': {'imageId': 'n1', 'question': 'What?', 'isBalanced': True}},
        {'201': 'Cup.'},
        [{'questionId': '201', 'prediction': 'cup'}],
    ),
    'vqav2': (
        'v2_OpenEnded_mscoco_test-dev2015_questions.json',
        {
            'data_subtype': 'test-dev2015',
            'questions': [{'question_id': 10, 'image_id': 1, 'question': 'What?'}],
        },
        {10: 'a cup'},
        [{'question_id': 10, 'answer': 'a cup'}],
    ),
    'jsonl': (
        'own.jsonl',
        [{'image': 'a.png', 'question': 'What?'}, {**CHOICE, 'id': 'x'}],
        {0: 'a cup', 'x': 'B'},
        [{'question_id': 0, 'answer': 'a cup'}, {'question_id': 'x', 'answer': 'B'}],
    ),
}


def written(folder, name, value):
    path = folder / name
    lines = value if path.suffix == '.jsonl' else [value]
    path.write_text('\n'.join(map(json.dumps, lines)) + '\n')
    return path


@pytest.mark.parametrize('name', SPLITS)
def test_a_split_without_answers_is_asked_and_not_scored(name, tmp_path):
    file, value, said, submission = SPLITS[name]
    benchmark = load_benchmark(name, written(tmp_path, file, value))
    assert benchmark.scored == []
    found = survey(benchmark)
    assert (found['questions'], found['scored']) == (len(said), 0)
    if name != 'jsonl':
        assert 'asked and written as a submission, and not scored' in found['problems'][0]
    assert all(benchmark.prompt(q) for q in benchmark.questions)
    records = [{'question_id': qid, 'answer': text} for qid, text in said.items()]
    results = score_run(benchmark, Outcome({'tosa': records}), tmp_path / 'run', {})
    assert (results['scored'], results['methods']['tosa']['scores']) == (0, [])
    assert json.loads((tmp_path / 'run' / 'tosa' / 'predictions.json').read_text()) == submission


@pytest.mark.skipif(not SCANQA_TEST.is_file(), reason='the shared data is not here')
def test_scanqas_real_layout_of_a_test_split():
    benchmark = load_benchmark('scanqa', SCANQA_TEST)
    assert [q.answers for q in benchmark.questions] == [()]
    assert benchmark.submission({'test-scene0708-0': 'x'})[0]['answer_top10'] == ['x']


def test_test_dev_has_the_pictures_of_test(tmp_path):
    file, value, *_ = SPLITS['vqav2']
    (tmp_path / 'test2015').mkdir()
    picture = Image.fromarray(np.zeros((24, 32, 3), np.uint8))
    picture.save(tmp_path / 'test2015' / 'COCO_test2015_000000000001.jpg')
    benchmark = load_benchmark('vqav2', written(tmp_path, file, value))
    assert len(benchmark.frames('1')) == 1


def test_a_file_of_answers_that_was_named_must_be_there(tmp_path):
    for name in ('sqa3d', 'vqav2'):
        file, value, *_ = SPLITS[name]
        data = written(tmp_path, file, value)
        with pytest.raises(DataError, match=r'gone\.json: no such file'):
            load_benchmark(name, data, annotations=tmp_path / 'gone.json')


def test_answers_that_only_some_records_lack_are_no_split(tmp_path):
    _, (record,), *_ = SPLITS['scanqa']
    with_answers = {**record, 'question_id': 'other', 'answers': ['a cup']}
    path = written(tmp_path, 'q.json', [with_answers, record])
    with pytest.raises(DataError, match="record 1: field 'answers' is missing"):
        load_benchmark('scanqa', path)


@pytest.mark.parametrize('ids', [(7, '7'), ('7', 7)])
def test_annotations_are_found_by_the_text_of_their_ids(ids, tmp_path):
    file, value, *_ = SPLITS['sqa3d']
    question, annotated = ids
    value = {'questions': [{**value['questions'][0], 'question_id': question}]}
    truth = {'question_id': annotated, 'answers': [{'answer': 'cup'}]}
    data = written(tmp_path, file, value)
    answers = written(tmp_path, 'a.json', {'annotations': [truth]})
    benchmark = load_benchmark('sqa3d', data, annotations=answers)
    assert [q.answers for q in benchmark.questions] == [('cup',)]
    twice = [truth, {**truth, 'question_id': question, 'answers': [{'answer': 'mug'}]}]
    answers = written(tmp_path, 'a.json', {'annotations': twice})
    with pytest.raises(DataError, match='question_id 7 is annotated twice, and not the same'):
        load_benchmark('sqa3d', data, annotations=answers)


def test_a_run_on_a_split_without_answers(tmp_path, command, capsys):
    """By the command: answers and a submission, no score, and a line that says so."""
    pytest.importorskip('transformers')
    Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(tmp_path / 'a.png')
    data = written(tmp_path, *SPLITS['jsonl'][:2])
    out = tmp_path / 'run'
    line = ('eval', 'jsonl', '--data', data, '--out', out, '--method', 'none')
    assert command(*line, '--max-new-tokens', 2) == 0
    printed = capsys.readouterr()
    assert 'no answers to compare with, so no scores' in printed.err
    assert 'xact match' not in printed.out + (out / 'report.md').read_text()
    said = json.loads((out / 'none' / 'predictions.json').read_text())
    assert [one['question_id'] for one in said] == [0, 'x']
    with pytest.raises(DataError, match='holds no scores: its questions have no answers'):
        command('compare', out)
