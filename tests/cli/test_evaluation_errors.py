"""What a user gets wrong with eval, compare, replay and bag: one line on stderr and code 2."""

from __future__ import annotations

import json

import pytest

from tosa_ros.cli.main import main

pytest.importorskip('rosbags')
RECORD = {
    'question': 'What?',
    'answer': 'a',
    'category': 'c',
    'question_id': 'i',
    'episode_history': 'hm3d-v0/gone',
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a good question file, broken ones, and things that are no bags or runs."""
    monkeypatch.chdir(tmp_path)
    for name, text in {
        'good.json': json.dumps([RECORD]),
        'cut.json': json.dumps([RECORD])[:-9],
        'field.json': json.dumps([RECORD, {**RECORD, 'question_id': 'j', 'answer': 3}]),
        'empty.json': '[]',
        'noise.mcap': 'noise',
        'run/scores.json': '{"methods": {"none": {"scores": []}}}',
        'full/thesis.tex': '',
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / 'empty').mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('eval openeqa --data gone.json --dry-run', 'gone.json: no such file'),
        ('eval openeqa --data cut.json --dry-run', 'cut.json: not JSON'),
        ('eval openeqa --data field.json --dry-run', "record 1: field 'answer' is 3; wanted text"),
        ('eval openeqa --data empty.json --dry-run', 'holds an empty list'),
        ('eval openeqa --dry-run', 'arguments are required: --data'),
        ('eval openeqa --data good.json', '--out is missing'),
        ('eval openeqa --data good.json --out o --model gone', 'gone'),
        ('eval openeqa --data good.json --out o --keep 7', 'keep: 7.0'),
        ('eval openeqa --data good.json --out o --frames 0', 'frames=0'),
        ('eval openeqa --data good.json --out o --prompt hi', 'has no {question}'),
        ('eval openeqa --data good.json --out o --device cuda:9', 'not available here'),
        ('eval openeqa --data good.json --out o --judge-url gpt', "base URL 'gpt'"),
        (
            'eval openeqa --data good.json --out o --judge-url http://127.0.0.1:abc/v1',
            "base URL 'http://127.0.0.1:abc/v1'",
        ),
        (
            'eval openeqa --data good.json --out o --judge-model gone',
            "judge: 'gone' is not a folder",
        ),
        ('eval openeqa --data good.json --out o --blind --depth noisy', '--blind shows no depth'),
        ('eval openeqa --data good.json --out o --depth monocular', 'needs --depth-model'),
        (
            'eval openeqa --data good.json --out o --depth noisy --depth-model m',
            '--depth-model estimates depth; --depth noisy does not',
        ),
        ('eval openeqa --data good.json --out o --shard 3/2', '--shard 3/2; wanted i/n'),
        ('eval openeqa --data good.json --out o --judge-prompts d', 'needs --judge-url or'),
        ('eval openeqa --data good.json --out o --split val', 'there is no option --split'),
        ('eval gqa --data good.json --out o --frames 3', 'there is no option --frames'),
        ('eval gqa --data good.json --out o --depth noisy', "'noisy' is unknown"),
        ('eval openeqa --data good.json --out full', 'holds other files, and not a run'),
        ('eval openeqa --data good.json --out good.json', 'is a file'),
        (
            'eval openeqa --data good.json --out good.json/o',
            'good.json/o: cannot be written',
        ),
        (
            'eval openeqa --data good.json --out /proc/o',
            '/proc/o: cannot be written',
        ),
        ('demo --out /proc/o', '/proc/o: cannot be written'),
        ('train --out /proc/o', '/proc/o: cannot be written'),
        ('train --export good.json/o', 'good.json: cannot be written'),
        ('eval openeqa --data good.json --out o', 'hm3d-v0/gone: no folder of frames, bag or'),
        ('eval gqa --data good.json --dry-run', 'wanted an object of questions by their id'),
        ('eval vqav2 --data good.json --dry-run', "wanted an object with a list 'questions'"),
        ('eval tinyworld --data x', 'there is no option --data'),
        ('eval tinyworld --frames 4 --out o', 'use it with --scenes walks'),
        ('eval tinyworld --limit 0 --out o', 'limit: 0; wanted at least 1'),
        (
            'eval tinyworld --limit 1 --method none --method tosa --keep 2 --out o',
            'keep: 2.0; wanted a fraction',
        ),
        (
            'eval tinyworld --limit 1 --merge-at often --out o',
            "merge_at: 'often'; wanted one of most, few, every",
        ),
        ('compare gone', 'holds no scores.json'),
        ('compare run', 'holds no scores'),
        ('replay gone --questions good.json --offline --out o', 'gone: no such bag'),
        ('replay noise.mcap --questions good.json --offline --out o', 'cannot be read as a bag'),
        (
            'replay empty --questions good.json --offline --out o',
            'not a bag; wanted metadata.yaml',
        ),
        (
            'replay gone --questions good.json --out o',
            'one of the arguments --offline --live is required',
        ),
        ('replay gone --questions good.json --live --out o --keep 0.5', '--keep is for --offline'),
        ('bag to-episode gone --out o', 'gone: no such bag'),
        ('bag from-episode gone --out o', 'gone: no such folder of frames'),
        ('bag from-episode empty --out o', 'empty'),
    ],
)
def test_one_line_and_code_2(place, capsys, line, message):
    assert main(line.split()) == 2
    *notes, error = capsys.readouterr().err.strip().splitlines()
    command = line.split()[0]
    assert error.startswith(f'tosa {command}')
    assert ': error: ' in error
    assert message in error
    assert 'Traceback' not in ''.join(notes)
