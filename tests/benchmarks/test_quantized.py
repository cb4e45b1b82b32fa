"""The page's table of fewer bits has the columns that are measured, and memory falls with bits."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip('torchao')

from benchmarks import quantized
from tosa_ros.vlm.untrained import write_checkpoint

PAGE = Path(__file__).parents[2] / 'docs' / 'models.md'


def rows() -> list[dict[str, str]]:
    table = PAGE.read_text().partition('<!-- quantized -->')[2].partition('<!-- /quantized')[0]
    lines = [line.strip('| ').split(' | ') for line in table.splitlines() if line[:1] == '|']
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def test_the_page_has_what_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(quantized, 'loading_mb', lambda path, quantize: 0.0)
    monkeypatch.setattr(quantized, 'WORDS', 2)
    made = quantized.measure(write_checkpoint(tmp_path / 'model'), 1, 'cpu')
    assert [list(row) for row in made] == [list(row) for row in rows()]
    assert [row['weights'] for row in made] == [row['weights'] for row in rows()]
    for table in (made, rows()):
        for half in ('vision MB', 'language MB'):
            sizes = [float(row[half]) for row in table]
            assert sizes == sorted(sizes, reverse=True)
            assert len(set(sizes)) == 3
