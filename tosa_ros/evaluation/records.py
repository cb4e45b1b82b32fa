"""Records of benchmark files: lists and fields, with errors that name what is wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tosa_ros.errors import DataError, FrameError
from tosa_ros.files import read_json

_KINDS = {str: 'text', list: 'a list', dict: 'an object', bool: 'true or false', int: 'a number'}


def records(value: Any, path: Path | str, key: str | None = None) -> list[dict]:
    """The list of objects that a benchmark file (or a place in it) holds, or `key` in it."""
    if key is not None:
        if not isinstance(value, dict) or key not in value:
            raise DataError(f'{path}: wanted an object with a list {key!r} in it')
        value = value[key]
    if not isinstance(value, list) or not value:
        seen = 'an empty list' if value == [] else type(value).__name__
        raise DataError(f'{path}: holds {seen}; wanted a list of questions')
    for index, record in enumerate(value):
        if not isinstance(record, dict):
            raise DataError(f'{path}: record {index} is {_short(record)}; wanted an object')
    return value


def field(record: dict, name: str, kind: type | tuple[type, ...], where: str) -> Any:
    """A field that a record must have.

    Raises:
        DataError: naming the record, the field, what is there and what is wanted.
    """
    if name not in record:
        raise DataError(f'{where}: field {name!r} is missing; it has {", ".join(record)}')
    value = record[name]
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = ' or '.join(_KINDS.get(k, k.__name__) for k in kinds)
        raise DataError(f'{where}: field {name!r} is {_short(value)}; wanted {wanted}')
    if isinstance(value, str) and not value.strip():
        raise DataError(f'{where}: field {name!r} is empty')
    return value


def texts(record: dict, name: str, where: str) -> tuple[str, ...]:
    """A field that holds a list of texts, at least one."""
    values = field(record, name, list, where)
    if not values or not all(isinstance(value, str) for value in values):
        raise DataError(f'{where}: field {name!r} is {_short(values)}; wanted a list of texts')
    return tuple(values)


def words(value: str | float) -> str:
    """A text, or a JSON number as people write it: 4.0 is 4."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value)


def word(record: dict, name: str, where: str) -> str:
    """A field that holds a text or a number, as text."""
    return words(field(record, name, (str, int, float), where))


def several(record: dict, name: str, where: str) -> tuple[str, ...]:
    """A field that holds a list of texts or numbers, at least one, as texts."""
    values = field(record, name, list, where)
    if not values:
        raise DataError(f'{where}: field {name!r} is []; wanted at least one')
    each = [{name: value} for value in values]
    return tuple(word(one, name, f'{where}, entry {n}') for n, one in enumerate(each))


def answers_of(record: dict, where: str) -> tuple[str, ...]:
    """What counts as right: `answers`, or `answer`; nothing where the file keeps it back."""
    name = 'answers' if record.get('answers') is not None else 'answer'
    if record.get(name) is None:
        return ()
    if isinstance(record[name], list):
        return several(record, name, where)
    return (word(record, name, where),)


def keeps_back(found: Sequence[dict], name: str) -> bool:
    """Whether a file keeps its answers back: not one record has the field, as in a test split."""
    return all(record.get(name) is None for record in found)


def not_scored(path: Path | str, why: str = 'it has no answers') -> str:
    """The problem of a split without answers, in words."""
    return f'{path}: {why}: its questions are asked and written as a submission, and not scored'


def annotations_of(path: Path, key: str) -> tuple[dict[str, tuple[dict, str]], list[str]]:
    """A file's `annotations` by id as text, each with the name of its place; and its problems."""
    found: dict[str, tuple[dict, str]] = {}
    problems = []
    for index, record in enumerate(records(read_json(path), path, 'annotations')):
        where = f'{path}: annotation {index}'
        name = str(field(record, key, (int, str), where))
        first, _ = found.setdefault(name, (record, where))
        if first is not record and first != record:
            raise DataError(f'{where}: {key} {name} is annotated twice, and not the same')
        if first is not record:
            problems.append(f'{where}: {key} {name} appears twice, word for word')
    return found, problems


def truths_of(
    given: Path | None, questions: Path, sibling: str, key: str
) -> tuple[dict[str, tuple[dict, str]] | None, list[str]]:
    """As `annotations_of`, of the file that was named or else of the questions' sibling.

    None where there is no sibling, as of a test split.
    """
    beside = questions.with_name(sibling)
    if given is None and (beside == questions or not beside.exists()):
        looked = '' if beside == questions else f', {sibling},'
        return None, [not_scored(questions, f'no file of answers{looked} is beside it')]
    return annotations_of(given or beside, key)


def first_existing(paths: Sequence[Path], what: str) -> Path:
    """The first of these files that is there. Raises FrameError that names them all."""
    for path in paths:
        if path.is_file():
            return path
    raise FrameError(f'{what}: no such file; looked for {", ".join(map(str, paths))}')


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else text[:57] + '...'
