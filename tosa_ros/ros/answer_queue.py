"""Answers questions one after another: a bounded queue, one thread, replies; ROS-free."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from tosa_ros.errors import QuestionError, TosaError, printable
from tosa_ros.ros.memory import FrameMemory, Seen
from tosa_ros.ros.places import Places
from tosa_ros.ros.questions import Question
from tosa_ros.ros.replies import ECHOED_CHARACTERS, Reply
from tosa_ros.settings import MAX_NEW_TOKENS
from tosa_ros.vlm import Answerer, AnswerOptions, Evidence, Generation
from tosa_ros.vlm.tokens import note_of


@dataclass(frozen=True, eq=False)
class _Job:
    question: Question
    asked: float = field(default_factory=time.monotonic)
    cancelled: threading.Event = field(default_factory=threading.Event)


class EvidenceSink(Protocol):
    """A receiver of what answers looked at."""

    def wanted(self) -> bool: ...

    def show(self, frames: Sequence[Seen], evidence: Evidence) -> None: ...


class AnswerQueue:
    """Answers questions one after another in a thread of its own, about the frames in memory.

    max_waiting: how many questions may wait; more are refused. max_age_s: with no newer frame
    than this, a question is refused, after waiting `wait_s` for one; 0 is any age.
    max_new_tokens: of an answer. options: others of `Answerer.stream`. All five may be set at any
    time.
    publish: called with every reply, in the queue's thread or in the one that asks.
    places: where frames were seen from, for the last reply to a question.
    sink: gets what an answer looked at, where it wants it when the question's turn comes.
    clock: seconds, the one that `Seen.came_s` is of.
    """

    def __init__(
        self,
        answerer: Answerer,
        memory: FrameMemory,
        publish: Callable[[Reply], None],
        *,
        clock: Callable[[], float],
        on_error: Callable[[BaseException], None],
        places: Places | None = None,
        sink: EvidenceSink | None = None,
        max_waiting: int = 8,
        max_age_s: float = 10.0,
        wait_s: float = 5.0,
        max_new_tokens: int = MAX_NEW_TOKENS.default,
    ) -> None:
        self.answerer, self.memory = answerer, memory
        self.places = Places('', 0.0) if places is None else places
        self._sink = sink
        self.max_waiting, self.max_new_tokens = max_waiting, max_new_tokens
        self.max_age_s, self.wait_s = max_age_s, wait_s
        self.options: AnswerOptions = {}
        self.dropped = 0  # Questions refused because too many waited.
        self._publish, self._clock, self._on_error = publish, clock, on_error
        self._wake = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._current: _Job | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name='answers', daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Questions that wait or are being answered."""
        with self._wake:
            return len(self._waiting) + (self._current is not None)

    def ask(self, question: Question) -> None:
        """Takes a question, or refuses it in a reply."""
        with self._wake:
            full = len(self._waiting) >= self.max_waiting
            if full:
                self.dropped += 1
            else:
                self._waiting.append(_Job(question))
                self._wake.notify_all()
        if full:
            self.refuse(question, f'busy: {self.max_waiting} questions are waiting; ask later')

    def clear(self, reason: str = 'cancelled') -> int:
        """Stops the current answer and refuses waiting questions; returns how many it ended."""
        with self._wake:
            refused = list(self._waiting)
            self._waiting.clear()
            running = self._current
            if running is not None:
                running.cancelled.set()
        for job in refused:
            self.refuse(job.question, reason)
        return len(refused) + (running is not None)

    def wait_idle(self, timeout_s: float) -> bool:
        """Waits until no question waits or is being answered; False if that took too long."""
        with self._wake:
            return self._wake.wait_for(lambda: not self._waiting and not self._current, timeout_s)

    def stop(self, timeout_s: float) -> bool:
        """Ends the thread; False if it is busy for longer than the timeout."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        self.clear('qa_node is shutting down')
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def refuse(self, question: Question, reason: str) -> None:
        """Replies that there is no answer, and why."""
        text = question.text[:ECHOED_CHARACTERS]
        self._publish(Reply(id=question.id, question=text, error=reason))

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                self._answer(job)
            except BaseException as error:  # A panic in the tokenizer's Rust is no Exception.
                if self._closed:
                    return  # Shut down in the middle: there is no one left to answer.
                self._failed(job, error)

    def _failed(self, job: _Job, error: BaseException) -> None:
        """Reports the error to whoever asked and, unless they caused it, to the node. Raises
        nothing, so the next question gets its answer."""
        known = isinstance(error, TosaError)
        reason = str(error) if known else printable(f'{type(error).__name__}: {error}')
        try:
            self.refuse(job.question, reason)
        except BaseException as worse:
            self._on_error(worse)
        if not isinstance(error, QuestionError):
            self._on_error(error)

    def _next(self) -> _Job | None:
        with self._wake:
            self._current = None
            self._wake.notify_all()
            self._wake.wait_for(lambda: self._waiting or self._closed)
            if not self._closed:
                self._current = self._waiting.popleft()
            return self._current

    def _answer(self, job: _Job) -> None:
        stop, question = job.cancelled.is_set, job.question
        oldest = self._clock() - self.max_age_s if self.max_age_s > 0 else -float('inf')
        frames = self.memory.frames(oldest, self.wait_s, stop)
        if not frames:
            self.refuse(question, 'cancelled' if stop() else self._why_blind())
            return
        tokens = [seen.tokens for seen in frames]
        reply = Reply(
            id=question.id,
            question=question.text[:ECHOED_CHARACTERS],
            note=note_of(tokens),
            stamp=tokens[-1].stamp,
            frame_id=frames[-1].frame_id,
            frames=len(frames),
            tokens=sum(len(one) for one in tokens),
            spatial=min((one.spatial for one in tokens), key=('none', 'levels', 'metric').index),
            done=False,
        )
        pieces = self.answerer.stream(
            tokens,
            question.text,
            max_new_tokens=self.max_new_tokens,
            stop=stop,
            evidence=self._sink is not None and self._sink.wanted(),
            **self.options,
        )
        ended: list[Generation] = []
        for piece in _kept(pieces, ended):
            latency_ms = 1e3 * (time.monotonic() - job.asked)
            first_ms = latency_ms if reply.first_word_ms is None else reply.first_word_ms
            reply = replace(
                reply, text=reply.text + piece, first_word_ms=first_ms, latency_ms=latency_ms
            )
            self._publish(reply)
        latency_ms = 1e3 * (time.monotonic() - job.asked)
        error = 'cancelled' if stop() else ''
        note = '; '.join(filter(None, (reply.note, ended[0].note)))
        reply = replace(reply, note=note, error=error, latency_ms=latency_ms, done=True)
        # Only now, as tf comes later than the frames that it is about.
        views, no_pose = self.places.views(frames)
        map_frame = self.places.map_frame if any(view.pose for view in views) else ''
        self._publish(replace(reply, views=views, map_frame=map_frame, no_pose=no_pose))
        if ended[0].evidence is not None:
            self._sink.show(frames, ended[0].evidence)

    def _why_blind(self) -> str:
        age_s = self.memory.newest_age_s(self._clock())
        if age_s is None:
            return 'no frame has arrived yet: is vision_node active, and does the camera publish?'
        return (
            f'the newest frame is {age_s:.1f} s old, more than max_age_s ({self.max_age_s:g}): '
            'does the camera still publish?'
        )


def _kept(
    pieces: Generator[str, None, Generation], ended: list[Generation]
) -> Generator[str, None, None]:
    """The same pieces; what they end in goes to `ended`."""
    ended.append((yield from pieces))
