"""The tables of settings in the documents, in Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tosa_ros.settings.kinds import Choice
from tosa_ros.settings.setting import Setting


def parameter_table(rows: Iterable[Setting]) -> str:
    """A node's parameters."""
    lines = ['| parameter | type | default | range | |', '| --- | --- | --- | --- | --- |']
    for row in rows:
        default = json.dumps(row.to_ros(row.default))
        fixed = ' Set at start only.' if row.read_only else ''
        lines.append(
            f'| `{row.name}` | {row.kind.ros} | `{default}` | {_allowed(row)} | '
            f'{_escaped(row.help)}{fixed} |'
        )
    return '\n'.join(lines)


def method_table(rows: Iterable[Setting]) -> str:
    """The settings of the merging methods."""
    lines = ['| setting | methods | default | range | |', '| --- | --- | --- | --- | --- |']
    for row in rows:
        default = row.unset if row.default is None else f'`{row.unset}`'
        methods = ', '.join(f'`{name}`' for name in row.methods)
        lines.append(
            f'| `{row.name}` | {methods} | {default} | {_allowed(row)} | {_escaped(row.help)} |'
        )
    return '\n'.join(lines)


def _allowed(row: Setting) -> str:
    if isinstance(row.kind, Choice):
        return ', '.join(f'`{choice}`' for choice in row.kind.choices)
    return _escaped(row.allowed)


def _escaped(text: str) -> str:
    return text.replace('|', '\\|')
