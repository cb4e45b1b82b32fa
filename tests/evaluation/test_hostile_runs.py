"""Run folders from somebody else: links, pipes and odd records; and text that no file takes."""

from __future__ import annotations

import json
import os

import pytest

from tosa_ros.errors import DataError
from tosa_ros.evaluation.journal import Journal
from tosa_ros.evaluation.report import markdown_table
from tosa_ros.evaluation.run_folder import ANSWERS, RunFolder, check_answer
from tosa_ros.files import read_json, write_json
from tosa_ros.merging import ToMe

FILES = ['.lock', 'settings.json', 'problems.jsonl', 'tome/method.json', 'tome/answers.jsonl']


@pytest.fixture
def precious(tmp_path):
    path = tmp_path / 'precious.txt'
    path.write_text('mine\n')
    return path


@pytest.fixture
def run(tmp_path):
    with (
        RunFolder(tmp_path / 'run', {'a': 1}) as folder,
        folder.journal('tome', ToMe(keep=0.5)) as journal,
    ):
        journal.append({'question_id': 1, 'answer': 'a'})
    return tmp_path / 'run'


def opened(path):
    with RunFolder(path, {'a': 1}) as folder, folder.journal('tome', ToMe(keep=0.5)) as journal:
        journal.append({'question_id': 2, 'answer': 'b'})


@pytest.mark.parametrize('name', FILES)
def test_a_link_in_a_run_is_refused_and_not_followed(run, precious, name):
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(precious)
    with pytest.raises(DataError, match=r'is a link; a run has only files'):
        opened(run)
    assert precious.read_text() == 'mine\n'


def test_a_linked_folder_and_a_pipe_are_refused(run, tmp_path):
    (run / 'tome').rename(tmp_path / 'elsewhere')
    (run / 'tome').symlink_to(tmp_path / 'elsewhere')
    before = sorted((tmp_path / 'elsewhere').iterdir())
    with pytest.raises(DataError, match='is a link'):
        opened(run)
    assert sorted((tmp_path / 'elsewhere').iterdir()) == before
    (run / 'tome').unlink()
    os.mkfifo(run / 'settings.json.x')
    with pytest.raises(DataError, match='is no file'):
        opened(run)


def test_a_journal_is_opened_through_no_link(tmp_path, precious):
    (tmp_path / 'a.jsonl').symlink_to(precious)
    with pytest.raises(DataError, match='it is a link'):
        Journal(tmp_path / 'a.jsonl')
    assert precious.read_text() == 'mine\n'


def test_a_run_is_compared_through_no_link(run, precious, command):
    (run / 'scores.json').symlink_to(precious)
    with pytest.raises(DataError, match='is a link'):
        command('compare', run)
    (run / 'scores.json').unlink()
    (run / 'scores.json').write_text('{"methods": {}}')
    (run / 'tome' / 'values.json').symlink_to(precious)
    with pytest.raises(DataError, match='is a link'):
        command('compare', run)


def test_a_label_that_leads_elsewhere_is_refused(run, tmp_path, command):
    method = {'scores': [{'metric': 'm', 'overall': 1.0, 'interval_95': [0, 1]}]}
    for label in ('../elsewhere', '/etc', '..', ''):
        (run / 'scores.json').write_text(json.dumps({'methods': {label: method}}))
        with pytest.raises(DataError, match='is no label of a method'):
            command('compare', run)
    (run / 'scores.json').write_text(json.dumps({'methods': {'tome': method}}))
    (run / 'tome' / 'values.json').write_text('[{"metric": "m"}]')
    with pytest.raises(DataError, match='not what a run writes'):
        command('compare', run)


@pytest.mark.parametrize(
    'record',
    [
        {},
        {'question_id': 1},
        {'question_id': [], 'answer': 'a'},
        {'question_id': 1, 'answer': 5},
        {'question_id': 1, 'answer': 'a', 'frames': 'many'},
        {'question_id': 1, 'answer': 'a', 'vision_ms': float('nan')},
        {'question_id': 1, 'answer': 'a', 'vision_ms': True},
        {'question_id': 1, 'answer': 'a', 'spatial': 7},
        {'question_id': 1, 'answer': 'a', 'frames': None},
        {'question_id': 1, 'answer': 'a', '\x1b[31m': {}},
    ],
)
def test_records_of_another_kind_are_one_line(run, record):
    with (run / 'tome' / ANSWERS).open('a') as stream:
        stream.write(json.dumps(record) + '\n')
    with pytest.raises(DataError, match='line 2 is damaged') as refused:
        opened(run)
    assert str(refused.value).isprintable()


def test_what_we_write_ourselves_passes():
    check_answer({'question_id': 'a', 'answer': '', 'first_word_ms': None, 'spatial': 'none'})


@pytest.mark.parametrize(
    'text', ['[' * 200_000, '{"a":' * 200_000, '9' * 5000, '{"a":NaN', '\x00']
)
def test_json_that_cannot_be_read_is_one_line(tmp_path, run, text):
    (tmp_path / 'a.json').write_text(text)
    with pytest.raises(DataError, match=r'a\.json: '):
        read_json(tmp_path / 'a.json')
    (run / 'tome' / ANSWERS).write_text(text + '\n')
    with pytest.raises(DataError, match='line 1 is damaged'):
        opened(run)


def test_half_a_character_is_kept_not_fatal(tmp_path):
    value = {'question_id': 1, 'answer': 'half \ud800 of a pair, and \U0001fa91'}
    write_json(tmp_path / 'a.json', value)
    assert read_json(tmp_path / 'a.json') == value
    with Journal(tmp_path / 'a.jsonl') as journal:
        journal.append(value)
    with Journal(tmp_path / 'a.jsonl') as journal:
        assert journal.records == [value]


def test_names_in_a_report_are_words_not_markup():
    odd = '<img src=x onerror=alert(1)> | a\nb ![x](http://y) `c` \x1b]0;title\x07 \u202e \\'
    lines = markdown_table((['name', 'n'], [[odd, '1']]))
    assert len(lines) == 3
    cells = lines[2].replace(r'\\', '').replace(r'\|', '')
    assert cells.count('|') == 3
    assert r'\<img' in lines[2]
    assert r'!\[x\](' in lines[2]
    assert lines[2].isprintable()
