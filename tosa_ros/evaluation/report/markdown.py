"""The report as Markdown, where foreign words stay words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tosa_ros.errors import printable
from tosa_ros.evaluation.report.sections import Section, Shown
from tosa_ros.evaluation.report.tables import LONGEST_CELL, Table


def markdown_page(title: str, parts: Sequence[Section], picture: str | None) -> str:
    """The whole page. picture: the plot's file, beside the page."""
    lines = [f'# {_escaped(title)}', '']
    if picture is not None:
        lines += [f'![score against tokens]({picture})', '']
    for heading, part in parts:
        lines += [f'## {_escaped(heading)}', '']
        if isinstance(part, tuple):
            lines += markdown_table(part)
        else:
            lines += [line for item in part for line in _item(item)]
        lines.append('')
    return '\n'.join(lines)


def _item(item: str | Shown) -> list[str]:
    if isinstance(item, str):
        return [f'- {_escaped(item)}']
    first, *rest = (_escaped(line) for line in item.lines)
    lines = [f'**{first}**', '', *(f'- {line}' for line in rest), '']
    return lines + ([f'![the frames and their tokens]({item.file})', ''] if item.file else [])


def markdown_table(table: Table) -> list[str]:
    """The lines of a table, numbers to the right."""
    head, rows = table
    escaped = [[_escaped(cell) for cell in row] for row in (head, *rows)]
    rule = ['---', *['---:'] * (len(head) - 1)]
    return ['| ' + ' | '.join(row) + ' |' for row in (escaped[0], rule, *escaped[1:])]


def _escaped(text: str) -> str:
    """Somebody's words as one line of Markdown, without HTML, links, pictures or cells."""
    line = printable(text, LONGEST_CELL)
    return re.sub(r'([\\|<\[\]`])', r'\\\1', line)
