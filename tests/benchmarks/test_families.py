"""The page's table of families is of all that there are, and says that they are transformers'."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import families
from tosa_ros.vlm import FAMILIES
from tosa_ros.vlm.untrained import write_checkpoint

PAGE = Path(__file__).parents[2] / 'docs' / 'models.md'


def rows():
    table = PAGE.read_text().partition('<!-- families -->')[2].partition('<!-- /families -->')[0]
    lines = [line.strip('| ').split('|') for line in table.splitlines() if line.startswith('|')]
    return {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines[2:]}


def test_the_table_has_every_family():
    assert set(rows()) == {family.title for family in FAMILIES.loaded().values()}


def test_differences_are_those_of_rounding():
    for title, (difference, size, *_) in rows().items():
        assert float(difference) <= min(1e-4, 1e-5 * float(size)), title


@pytest.mark.parametrize('name', ['qwen3_vl', 'paligemma'])
def test_a_row_is_measured_as_the_page_says(tmp_path, name):
    path = write_checkpoint(tmp_path / name, family=name)
    row = families.measure(path, [families.frame(seed) for seed in range(2)])
    said = rows()[FAMILIES[name].title]
    assert float(row['difference']) <= 1e-4
    assert np.isclose(row['of logits up to'], float(said[1]), atol=0.02)
    # Where a token cannot merge, the page has an empty cell.
    assert [str('' if row[key] is None else row[key]) for key in list(row)[3:]] == said[2:]
