"""docs/performance.md: places for all tables, a true summary."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from benchmarks.measuring import put_into

PAGE = Path(__file__).parents[2] / 'docs/performance.md'


def rows(text: str) -> list[list[str]]:
    lines = [line.strip('|').split('|') for line in text.splitlines() if line.startswith('| ')]
    return [[cell.strip() for cell in line] for line in lines]


def between(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0]


def test_every_command_on_the_page_has_a_place_for_its_table(tmp_path):
    page = shutil.copy(PAGE, tmp_path / 'page.md')
    commands = re.findall(r'^    (python -m benchmarks\..*(?:\\\n.*)?)$', PAGE.read_text(), re.M)
    assert len(commands) == 12
    for command in commands:
        name = re.search(r'benchmarks\.(\w+)', command)[1].replace('_', '-')
        batch = re.search(r'--batch (\d+)', command)
        name += '-compiled' if '--compile' in command else f'-batch-{batch[1]}' if batch else ''
        name += '-cuda' if '--device cuda' in command else ''
        put_into(page, name, f'table of {name}')
        assert f'<!-- {name} -->\ntable of {name}\n<!-- /{name} -->' in page.read_text()


def test_the_summary_repeats_the_measured_tables():
    text = PAGE.read_text()
    header, _, *measured = rows(between(text, '<!-- vision -->', '<!-- /vision -->'))
    table = [dict(zip(header, row, strict=True)) for row in measured]
    _, _, *summary = rows(between(text, '## In short', '## How it was measured'))
    assert len(summary) == 7
    for tower, dtype, keep, unmerged, merged, speedup in summary:
        of = [row for row in table if (row['tower'], row['dtype']) == (tower, dtype)]
        assert [row['ms'] for row in of if row['method'] == 'unmerged'] == [unmerged]
        ours = [row for row in of if (row['method'], row['keep']) == ('tosa', keep)]
        assert [(row['ms'], row['speedup']) for row in ours] == [(merged, speedup)]


def test_long_tables_are_folded():
    text = re.sub(r'<details.*?</details>', '', PAGE.read_text(), flags=re.DOTALL)
    runs = re.findall(r'(?:^\|.*\n)+', text, flags=re.M)
    assert max(run.count('\n') for run in runs) <= 20
