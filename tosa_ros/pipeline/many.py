"""A stream of answers as a caller wants it: counted, and with errors raised or recorded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, Literal

from tosa_ros.errors import QuestionError
from tosa_ros.pipeline.answers import Answer
from tosa_ros.pipeline.requests import Engine, read_requests

OnError = Literal['raise', 'record']
# Called with the answers there are, and those wanted, or None where that is not known.
Progress = Callable[[int, 'int | None'], None]


def answered(
    engine: Engine, requests: Iterable[Any], progress: bool | Progress, on_error: OnError
) -> Iterator[Answer]:
    """The engine's answers to requests of any form; see `VqaPipeline.ask_many`."""
    if on_error not in ('raise', 'record'):
        raise QuestionError(f"on_error: {on_error!r}; wanted 'raise' or 'record'")
    total = len(requests) if isinstance(requests, Sized) else None
    answers = engine.answers(read_requests(requests))
    answers = _shown(answers, total) if progress is True else _told(answers, total, progress)
    return answers if on_error == 'record' else _raised(answers)


def _shown(answers: Iterable[Answer], total: int | None) -> Iterator[Answer]:
    from tqdm import tqdm

    # None leaves it to tqdm, which looks whether there is a terminal.
    yield from tqdm(answers, total=total, unit='answer', file=sys.stderr, disable=None)


def _told(
    answers: Iterable[Answer], total: int | None, progress: Progress | Literal[False]
) -> Iterator[Answer]:
    for number, answer in enumerate(answers, start=1):
        if progress:
            progress(number, total)
        yield answer


def _raised(answers: Iterable[Answer]) -> Iterator[Answer]:
    """Answers, up to one that has an error, which is raised and names the request."""
    for answer in answers:
        if answer.error:
            error = answer.cause or QuestionError(answer.error)
            error.args = (f'request {answer.id!r}: {answer.error}',)
            raise error
        yield answer
