"""The page's table of families is of all that there are, and says that they are transformers'."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import families, family_speed
from tosa_ros.vlm import FAMILIES
from tosa_ros.vlm.untrained import write_checkpoint

PAGE = Path(__file__).parents[2] / 'docs' / 'models.md'


TITLES = {family.title for family in FAMILIES.loaded().values()}


def rows(name='families'):
    table = PAGE.read_text().partition(f'<!-- {name} -->')[2].partition(f'<!-- /{name} -->')[0]
    lines = [line.strip('| ').split('|') for line in table.splitlines() if line.startswith('|')]
    return {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines[2:]}


def test_the_table_has_every_family():
    assert set(rows()) == TITLES


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


def test_the_table_of_times_has_every_family_or_is_not_made_yet():
    table = rows('families-speed')
    assert set(table) in (set(), TITLES)
    for title, (_, vision, prefill, *faster) in table.items():
        assert float(vision) > 0
        assert float(prefill) > 0
        # Fewer tokens never cost much, and a tenth of them is read sooner than a quarter.
        assert all(float(cell) > 0.7 for cell in faster if cell), title
        assert float(faster[-1]) > 0.9 * float(faster[-2]) > 0.9, title


@pytest.mark.parametrize('name', ['qwen2_vl', 'internvl'])
def test_times_are_measured_on_the_roads_that_there_are(tmp_path, name):
    path = write_checkpoint(tmp_path / name, family=name)
    row = family_speed.measure(path, repeats=1)
    for road in ('tower', 'output'):
        for keep in family_speed.KEEPS:
            assert (row[f'vision, {road} {keep}'] is not None) == (road in FAMILIES[name].roads)


def test_what_is_measured_already_is_kept(tmp_path, monkeypatch, capsys):
    measured = []
    monkeypatch.setattr(
        family_speed,
        'measure',
        lambda path, *_: measured.append(path.name) or {'family': path.name},
    )
    line = ['--speed', '--size', 'tiny', '--out', str(tmp_path / 'speed.json'), '--families']
    families.main([*line, 'llava', 'gemma3'])
    families.main([*line, 'llava', 'gemma3', 'internvl'])
    assert measured == ['llava', 'gemma3', 'internvl']
    assert '| internvl |' in capsys.readouterr().out
    kept = (tmp_path / 'speed.json').read_text()
    (tmp_path / 'speed.json').write_text(kept.replace('torch', 'other'))
    with pytest.raises(SystemExit, match=r'speed.json: measured on .*; this is '):
        families.main([*line, 'llava'])
