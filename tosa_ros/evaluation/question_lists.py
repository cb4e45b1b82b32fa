"""Lists of questions as people write them: lines of text, CSV, JSON or JSON Lines."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Any

from tosa_ros.errors import DataError, printable
from tosa_ros.evaluation.records import field, records
from tosa_ros.files import decoded_json, read_text

FIELDS: dict[str, type | tuple[type, ...]] = {
    'question': str,
    'image': str,
    'id': (int, str),
    'depth': str,
    'depth_scale': (int, float),
    'intrinsics': (str, list),
}
STDIN = '-'


def read_questions(name: str) -> list[dict[str, Any]]:
    """Records with `question`, and as they have them `image` and the other FIELDS.

    A file called .csv has these as its columns; one that begins with { or [ is JSON Lines or a
    JSON list; any other has a question a line. `-` is standard input.

    Raises:
        DataError: no such file, no question, or a field that is unknown or of another kind.
    """
    where = 'standard input' if name == STDIN else name
    text = sys.stdin.read() if name == STDIN else read_text(Path(name))
    start = text.lstrip()[:1]
    if name.lower().endswith('.csv'):
        found = _of_csv(text, where)
    elif start == '{':
        lines = enumerate(text.split('\n'), start=1)
        found = [decoded_json(line, f'{where}: line {n}') for n, line in lines if line.strip()]
    elif start == '[':
        found = decoded_json(text, where)
    else:
        found = [{'question': line.strip()} for line in text.split('\n') if line.strip()]
    return [
        _checked(record, f'{where}: record {index}')
        for index, record in enumerate(records(found, where))
    ]


def _of_csv(text: str, where: str) -> list[dict[str, Any]]:
    dialect: type[csv.Dialect] | csv.Dialect = csv.excel
    head = text.partition('\n')[0]
    if ';' in head and ',' not in head:  # as spreadsheets write it where a comma is in numbers
        dialect = type('Semicolons', (csv.excel,), {'delimiter': ';'})
    reader = csv.DictReader(io.StringIO(text), dialect=dialect)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise DataError(f'{where}: line {reader.line_num}: {error}') from error
    for row in rows:
        if None in row:
            raise DataError(f'{where}: line {reader.line_num}: more values than columns')
    return [
        {(k or '').strip(): v.strip() for k, v in row.items() if v and v.strip()} for row in rows
    ]


def _checked(record: dict[str, Any], where: str) -> dict[str, Any]:
    unknown = [name for name in record if name not in FIELDS]
    if unknown:
        raise DataError(
            f'{where}: unknown field {printable(repr(unknown[0]), 60)}; known: {", ".join(FIELDS)}'
        )
    field(record, 'question', str, where)
    if isinstance(record.get('depth_scale'), str):
        try:
            record = {**record, 'depth_scale': float(record['depth_scale'])}
        except ValueError as error:
            raise DataError(f"{where}: field 'depth_scale': {error}") from error
    return {
        name: field(record, name, FIELDS[name], where)
        for name, value in record.items()
        if value is not None
    }
