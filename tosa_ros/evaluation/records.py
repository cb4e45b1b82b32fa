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


def annotations_of(path: Path, key: str) -> tuple[dict[Any, tuple[dict, str]], list[str]]:
    """A file's `annotations` by id, each with the name of its place; and its problems in words."""
    found: dict[Any, tuple[dict, str]] = {}
    problems = []
    for index, record in enumerate(records(read_json(path), path, 'annotations')):
        where = f'{path}: annotation {index}'
        name = field(record, key, (int, str), where)
        if name in found:
            problems.append(f'{where}: {key} {name} appears twice; the first one is used')
        found.setdefault(name, (record, where))
    return found, problems


def first_existing(paths: Sequence[Path], what: str) -> Path:
    """The first of these files that is there. Raises FrameError that names them all."""
    for path in paths:
        if path.is_file():
            return path
    raise FrameError(f'{what}: no such file; looked for {", ".join(map(str, paths))}')


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else text[:57] + '...'
