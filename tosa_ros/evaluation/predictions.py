"""Predictions that were made anywhere, from a file: `tosa score`.

    {"question_id": 7, "answer": "a mug"}       a line each (JSON Lines), or a list in JSON
    {"7": "a mug", "8": "two"}                  texts by question id

The first is what a run writes (answers.jsonl, predictions.json) and the benchmarks' submission
formats are: an id under one of IDS, and what was said under one of TEXTS.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tosa_ros.errors import DataError, printable
from tosa_ros.evaluation.metrics.scanqa import Ranked, ranked
from tosa_ros.evaluation.metrics.score import QuestionId
from tosa_ros.evaluation.records import field, records, words
from tosa_ros.evaluation.run_folder import ANSWERS
from tosa_ros.files import read_json

IDS = ('question_id', 'questionId', 'id')
RANKED = 'answer_top10'
TEXTS = ('answer', 'prediction', RANKED, 'text', 'response', 'pred', 'output')
SHOWN = 3


class Read(NamedTuple):
    """What a file holds: predictions by the benchmark's ids, and what is odd, in words."""

    predictions: dict[QuestionId, str]
    problems: list[str]


def read_predictions(path: Path, questions: Iterable[QuestionId]) -> Read:
    """The predictions of a file, or of a method in a run's folder, for these questions.

    Ids are compared as text.

    Raises:
        DataError: a file of another shape, a record that does not say which of its texts was said,
            two answers to one question, or not one answer to these questions.
    """
    path = path / ANSWERS if path.is_dir() else path
    known = {str(qid): qid for qid in questions}
    found: dict[str, str] = {}
    unknown: list[str] = []
    unsaid: list[str] = []
    for where, qid, value in _pairs(path):
        each = [_text(one, f'{where}: question {qid}') for one in _several(value)]
        said = Ranked.of(each) if each[1:] else next(iter(each), None)
        if said is None:
            unsaid.append(qid)
        elif ranked(found.setdefault(qid, said)) != ranked(said):
            raise DataError(f'{where}: question {qid} is answered twice, and not the same')
        elif qid not in known:
            unknown.append(qid)
    predictions = {known[qid]: said for qid, said in found.items() if qid in known}
    if not predictions:
        raise DataError(
            f'{path}: answers none of these questions: its ids are such as '
            f'{_some([*found, *unsaid])}, theirs such as {_some(list(known))}'
        )
    problems = {
        f'{len(unknown)} answers are to no question of these, and not scored: {_some(unknown)}': (
            unknown
        ),
        f'{len(unsaid)} questions are named, but nothing was said: {_some(unsaid)}': unsaid,
    }
    return Read(predictions, [f'{path}: {line}' for line, holds in problems.items() if holds])


def labels_of(paths: Sequence[Path]) -> list[str]:
    """A name for each path that is no other's: its stem, or its folder's for our own files.

    Raises:
        DataError: a file is there twice.
    """
    whole = [path.resolve() for path in paths]
    for path in whole:
        if whole.count(path) > 1:
            raise DataError(f'{path}: is named twice; wanted files to compare')
    names = [path.name if path.is_dir() else path.stem for path in whole]
    parts = [(*path.parts[1:-1], name) for path, name in zip(whole, names, strict=True)]
    own = all(part[-1] in ('predictions', 'answers') for part in parts if part[1:])
    parts = [part[:-1] if own and part[1:] else part for part in parts]
    for count in range(1, max(map(len, parts)) + 1):
        labels = ['-'.join(part[-count:]) for part in parts]
        if len(set(labels)) == len(labels):
            return labels
    return [f'{number}-{part[-1]}' for number, part in enumerate(parts, start=1)]


def _pairs(path: Path) -> Iterator[tuple[str, str, Any]]:
    """(place, id, what was said) of each record."""
    value = read_json(path)
    if isinstance(value, dict):
        if not value or any(isinstance(one, dict | list) for one in value.values()):
            raise DataError(
                f'{path}: wanted texts by question id, or a list of objects with one of '
                f'{", ".join(IDS)} and one of {", ".join(TEXTS)}'
            )
        for qid, said in value.items():
            yield str(path), qid, said
        return
    for index, record in enumerate(records(value, path)):
        where = f'{path}: record {index}'
        name, text = _only(record, IDS, where), _only(record, TEXTS, where)
        if isinstance(record[text], list) and text != RANKED:
            raise DataError(f'{where}: field {text!r} is a list; wanted text')
        yield where, str(field(record, name, (int, str), where)), record[text]


def _only(record: Mapping[str, Any], names: Sequence[str], where: str) -> str:
    """The one of these fields that a record has."""
    there = [name for name in names if name in record]
    if len(there) != 1:
        has = f'has {" and ".join(there)}' if there else f'has {", ".join(record)}'
        raise DataError(f'{where}: {has}; wanted exactly one of {", ".join(names)}')
    return there[0]


def _several(value: Any) -> list[Any]:
    """The answers of a field: a list's, one, or none."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _text(said: Any, where: str) -> str:
    number = isinstance(said, int | float) and not isinstance(said, bool) and math.isfinite(said)
    if not isinstance(said, str) and not number:
        raise DataError(f'{where}: {printable(repr(said), 60)} is no text')
    return words(said)


def _some(ids: Sequence[str]) -> str:
    shown = ', '.join(printable(repr(qid), 60) for qid in ids[:SHOWN])
    return shown + ' ...' * (len(ids) > SHOWN)
