"""A stream of answers as a caller wants it: counted, and with errors raised or recorded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import replace
from itertools import islice
from typing import Any, Literal, Protocol

from tosa_ros.errors import QuestionError, TosaError
from tosa_ros.pipeline.answers import Answer
from tosa_ros.pipeline.requests import Engine, Request, read_requests
from tosa_ros.sources import frames_of

OnError = Literal['raise', 'record']
# Called with the answers there are, and those wanted, or None where that is not known.
Progress = Callable[[int, 'int | None'], None]


class Asks(Protocol):
    """What answers a list of (frames, question) at once, such as a model behind a server."""

    def answer_batch(self, requests: Sequence[Any], **options: Any) -> list[Answer]: ...


class Batches:
    """An engine of whatever answers lists: `size` requests at once, each alone where they fail."""

    def __init__(self, asked: Asks, size: int, **options: Any) -> None:
        self._asked, self._size, self._options = asked, size, options

    def answers(self, requests: Iterable[Request]) -> Iterator[Answer]:
        """An Answer to each request, in order."""
        requests = iter(requests)
        while some := list(islice(requests, self._size)):
            yield from self._at_once(some)

    def _at_once(self, some: Sequence[Request]) -> list[Answer]:
        try:
            for one in some:
                if one.error is not None:
                    raise one.error
            asked = [(frames_of(one.frames).frames, one.question) for one in some]
            answers = self._asked.answer_batch(asked, **self._options)
        except TosaError as error:
            if len(some) > 1:
                return [answer for one in some for answer in self._at_once([one])]
            return [Answer(some[0].question, '', id=some[0].id, error=str(error), cause=error)]
        return [replace(one, id=each.id) for one, each in zip(answers, some, strict=True)]


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
