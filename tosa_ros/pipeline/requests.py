"""Requests: what is asked about which frames, in any form; and who answers them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tosa_ros.errors import FrameError, QuestionError, TosaError, printable
from tosa_ros.pipeline.answers import Answer
from tosa_ros.sources.given import frame_part
from tosa_ros.vlm.prompt import check_question

FIELDS = ('id', 'question', 'frames', 'image', 'depth', 'depth_scale', 'intrinsics')
OF_A_FILE = ('depth', 'depth_scale', 'intrinsics')


@dataclass(frozen=True, eq=False)
class Request:
    """A question about frames.

    frames: anything that `tosa_ros.sources.frames_of` takes; it is opened by who answers.
    error: why it cannot be asked as it stands.
    """

    id: str | int
    question: str
    frames: Any
    error: TosaError | None = None


class Engine(Protocol):
    """Who answers: here (`LocalEngine`), or in other processes and on other machines."""

    def answers(self, requests: Iterable[Request]) -> Iterator[Answer]:
        """An Answer to each request, in their order, as they come.

        One that cannot be answered gets an Answer with an `error`. Requests are taken a bounded
        number ahead, so that there may be any number of them.
        """
        ...


def read_requests(given: Iterable[Any]) -> Iterator[Request]:
    """Requests of (frames, question), of mappings or of Requests; numbered where they have no id.

    A mapping has `question`, `frames` or `image`, and may have `id`; beside `image`, a path, also
    what `read_frame` takes: `depth`, `depth_scale`, `intrinsics`.
    """
    for number, one in enumerate(given):
        try:
            request = _request(one, number)
            check_question(request.question)
        except TosaError as error:
            question = _said(one)
            yield Request(_id(one, number), question, None, error)
        else:
            yield request


def _request(one: Any, number: int) -> Request:
    if isinstance(one, Request):
        return one
    if isinstance(one, Mapping):
        return _of_mapping(one, number)
    if isinstance(one, tuple | list) and len(one) == 2:
        return Request(number, one[1], one[0])
    raise QuestionError(
        f'request: {printable(repr(one), 60)}; wanted (frames, question), or a mapping of '
        f'{", ".join(FIELDS)}'
    )


def _of_mapping(one: Mapping[str, Any], number: int) -> Request:
    unknown = [name for name in one if name not in FIELDS]
    if unknown:
        raise QuestionError(f'request: unknown field {unknown[0]!r}; known: {", ".join(FIELDS)}')
    if ('frames' in one) == ('image' in one):
        raise FrameError("request: wanted either 'frames' or 'image'")
    files = {name: one[name] for name in OF_A_FILE if one.get(name) is not None}
    if files and 'image' not in one:
        raise FrameError(f"request: {min(files)!r} goes with 'image', a path")
    frames = one['frames'] if 'frames' in one else one['image']
    if files:
        frames = frame_part(frames, **files)
    return Request(_id(one, number), one.get('question', ''), frames)


def _id(one: Any, number: int) -> str | int:
    if isinstance(one, Request):
        return one.id
    found = one.get('id') if isinstance(one, Mapping) else None
    return found if isinstance(found, str | int) else number


def _said(one: Any) -> str:
    if isinstance(one, Request):
        found: Any = one.question
    elif isinstance(one, Mapping):
        found = one.get('question')
    else:
        found = one[1] if isinstance(one, tuple | list) and len(one) == 2 else ''
    return found if isinstance(found, str) else ''
