"""Opens what requests are about, ahead in threads; what several are about is opened once."""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tosa_ros.errors import FrameError, TosaError
from tosa_ros.frames import Frame
from tosa_ros.pipeline.answers import Answer
from tosa_ros.pipeline.requests import Request
from tosa_ros.pipeline.views import View
from tosa_ros.sources.given import Given, Part, parts_of
from tosa_ros.vlm import VisualTokens

THREADS = min(4, os.cpu_count() or 1)
AHEAD = 2 * THREADS  # requests whose frames are opened before they are needed
REMEMBERED = 256  # parts (files, pictures) whose visual tokens are kept for later requests


@dataclass(eq=False)
class Look:
    """What one part of a request gives: frames while they wait to be encoded, then their tokens.

    frames are dropped when they have their tokens. views: of those, for notebooks.
    vision_ms: what encoding took, until a request has answered for it.
    """

    opening: Future[Given] | None
    frames: list[Frame] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    tokens: list[VisualTokens | None] = field(default_factory=list)
    error: TosaError | None = None
    views: list[View | None] = field(default_factory=list)
    vision_ms: float = 0.0
    queued: bool = False

    def wait(self) -> None:
        """Until its frames are there, or an error is."""
        opening, self.opening = self.opening, None
        if opening is None:
            return
        try:
            frames, self.names = opening.result()
        except TosaError as error:
            self.error = error
            return
        self.frames = list(frames)
        self.tokens = [None] * len(frames)
        self.views = [None] * len(frames)

    def see(self, number: int, tokens: VisualTokens, view: View, took_ms: float) -> None:
        """Takes a frame's tokens."""
        self.tokens[number], self.views[number] = tokens, view
        self.vision_ms += took_ms
        if self.is_seen:
            self.frames = []

    @property
    def is_seen(self) -> bool:
        return self.error is not None or None not in self.tokens


@dataclass(eq=False)
class Job:
    """A request on its way to an answer."""

    request: Request
    looks: list[Look] = field(default_factory=list)
    error: TosaError | None = None
    answer: Answer | None = None

    @property
    def is_seen(self) -> bool:
        return self.fault is not None or all(look.is_seen for look in self.looks)

    @property
    def fault(self) -> TosaError | None:
        """Why there can be no answer."""
        return self.error or next((look.error for look in self.looks if look.error), None)

    @property
    def tokens(self) -> list[VisualTokens]:
        return [one for look in self.looks for one in look.tokens if one is not None]

    @property
    def length(self) -> int:
        """How many visual tokens it has."""
        return sum(map(len, self.tokens))


class Opener:
    """One run's requests become jobs whose frames are in memory, or their tokens already."""

    def __init__(self) -> None:
        self._known: OrderedDict[Any, Look] = OrderedDict()

    def jobs(self, requests: Iterable[Request]) -> Iterator[Job]:
        """Jobs in the order of the requests, opened up to AHEAD requests before they are due."""
        waiting: deque[Job] = deque()
        with ThreadPoolExecutor(THREADS, thread_name_prefix='opening') as pool:
            try:
                for request in requests:
                    waiting.append(self._begun(request, pool))
                    if len(waiting) > AHEAD:
                        yield _opened(waiting.popleft())
                while waiting:
                    yield _opened(waiting.popleft())
            finally:
                for job in waiting:
                    for look in job.looks:
                        if look.opening is not None:
                            look.opening.cancel()

    def _begun(self, request: Request, pool: ThreadPoolExecutor) -> Job:
        job = Job(request, error=request.error)
        if job.error is None:
            try:
                job.looks = [self._look(part, pool) for part in parts_of(request.frames)]
            except TosaError as error:
                job.error = error
        return job

    def _look(self, part: Part, pool: ThreadPoolExecutor) -> Look:
        look = self._known.get(part.key)
        if look is None:
            look = self._known[part.key] = Look(pool.submit(part.open))
        self._known.move_to_end(part.key)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return look


def _opened(job: Job) -> Job:
    for look in job.looks:
        look.wait()
    if job.fault is None and not any(look.tokens for look in job.looks):
        job.error = FrameError('no frames: a question needs at least one')
    return job
