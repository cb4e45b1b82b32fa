"""The journal of a run: what a crash can and cannot do to it."""

from __future__ import annotations

import json

import pytest

from tosa_ros.errors import DataError
from tosa_ros.evaluation.journal import Journal

RECORDS = [{'question_id': i, 'answer': 'café\n' * i} for i in range(4)]


@pytest.fixture
def path(tmp_path):
    with Journal(tmp_path / 'run' / 'p.jsonl') as journal:
        for record in RECORDS:
            journal.append(record)
    return journal.path


def test_a_truncated_journal_keeps_its_complete_lines(path):
    data = path.read_bytes()
    for size in range(len(data) + 1):
        path.write_bytes(data[:size])
        whole = data[:size].count(b'\n')
        with Journal(path) as journal:
            assert journal.records == RECORDS[:whole]
            for record in RECORDS[whole:]:
                journal.append(record)
        assert path.read_bytes() == data


def test_damage_that_no_crash_does_is_named(path):
    lines = path.read_text().splitlines()
    path.write_text('\n'.join([lines[0], lines[1][:5], lines[2]]) + '\n')
    with pytest.raises(DataError, match='line 2 is damaged'):
        Journal(path)


def test_a_line_is_on_disk_before_append_returns(path):
    with Journal(path) as journal:
        journal.append({'question_id': 9})
        assert json.loads(path.read_text().splitlines()[-1]) == {'question_id': 9}
