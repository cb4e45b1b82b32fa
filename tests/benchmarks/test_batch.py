"""The benchmark of batches: rows for each engine, the same answers, memory of many requests."""

from __future__ import annotations

import json

import pytest

pytest.importorskip('open3d')

from benchmarks import batch


def test_engines_answer_the_same_and_memory_is_told(capsys):
    words = ['--questions', '3', '--repeats', '1', '--dtypes', 'float32', '--keeps', '0.1']
    assert batch.main([*words, '--requests', '20', '--json']) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row['engine'] for row in found['rows']] == ['serial', 'batched']
    assert {row['same'] for row in found['rows']} == {'3/3'}
    assert all(row['questions/s'] > 0 for row in found['rows'])
    assert float(found['resident MiB after 20 requests']) > 100
