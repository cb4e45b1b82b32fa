"""LocalEngine: a stream of requests, answered in full batches of frames and of questions.

Frames are opened ahead, encoded `frames_per_batch` at a time across requests, and dropped; what
waits is bounded, so that there may be any number of requests.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from tosa_ros.errors import MergingError, ModelError, QuestionError, TosaError
from tosa_ros.pipeline.answers import Answer, told
from tosa_ros.pipeline.fitting import Fit, is_out_of_memory
from tosa_ros.pipeline.opening import Job, Look, Opener
from tosa_ros.pipeline.requests import Request
from tosa_ros.pipeline.views import View
from tosa_ros.settings import AUTO
from tosa_ros.vlm.options import Answering, AnswerOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from tosa_ros.pipeline.vqa import VqaPipeline
    from tosa_ros.vlm import Generation

FRAMES_PER_BATCH = 16
LONGEST_LINE = 256  # requests that wait for frames to fill a batch
LEAST_FILLED = 0.5  # of a padded batch's shortest prompt


class LocalEngine:
    """Answers requests with a pipeline in this process.

    batch_size: questions answered at once; 'auto': as many as fit, at most 64.
    frames_per_batch: frames that go through the vision half at once.
    options: as of `VqaPipeline.ask`.
    """

    def __init__(
        self,
        pipeline: VqaPipeline,
        *,
        batch_size: int | str = AUTO,
        frames_per_batch: int = FRAMES_PER_BATCH,
        **options: Unpack[AnswerOptions],
    ) -> None:
        if frames_per_batch < 1:
            raise QuestionError(f'frames_per_batch: {frames_per_batch}; wanted at least 1')
        self._pipeline = pipeline
        self._method = pipeline.merging
        self._tiling = pipeline.encoder.tiling
        longest = Answering(**options).max_new_tokens
        self._fit = Fit(batch_size, getattr(pipeline.answerer, 'model', None), longest)
        self._frames = frames_per_batch
        self._options = options

    def answers(self, requests: Iterable[Request]) -> Iterator[Answer]:
        """An Answer to each request, in order, as batches are done."""
        with contextlib.closing(Opener().jobs(requests)) as jobs:
            for batch in self._batches(self._seen(jobs)):
                if self._pipeline.merging != self._method:
                    raise MergingError('merging was changed while requests were being answered')
                self._answer([job for job in batch if job.fault is None])
                for job in batch:
                    yield job.answer or self._refused(job)

    def _seen(self, jobs: Iterator[Job]) -> Iterator[Job]:
        """Jobs whose frames have their tokens, or whose error is known."""
        line: deque[Job] = deque()
        new: list[tuple[Look, int]] = []
        for job in jobs:
            line.append(job)
            for look in job.looks:
                if not look.queued and job.fault is None:
                    look.queued = True
                    new += [(look, number) for number in range(len(look.frames))]
            while len(new) >= self._frames or (new and len(line) > LONGEST_LINE):
                self._encode_next(new)
            while line and line[0].is_seen:
                yield line.popleft()
        while new:
            self._encode_next(new)
        yield from line

    def _encode_next(self, new: list[tuple[Look, int]]) -> None:
        """Encodes the first frames of those that are new, and takes them out."""
        some = new[: self._frames]
        del new[: self._frames]
        self._encode(some)

    def _encode(self, some: Sequence[tuple[Look, int]]) -> None:
        """One batch; where it fails, each half, so that one frame costs no other its tokens."""
        frames = [look.frames[number] for look, number in some]
        start = time.perf_counter()
        try:
            tokens = self._pipeline.encode(frames, self._frames)
        except TosaError as error:
            if len(some) == 1:
                some[0][0].error = error
                return
        except RuntimeError as error:
            self._give_way(error, len(some), 'frames')
            self._frames = max(1, len(some) // 2)
        else:
            took_ms = 1e3 * (time.perf_counter() - start) / len(some)
            for (look, number), frame, one in zip(some, frames, tokens, strict=True):
                view = View.of(frame, look.names[number], one, self._tiling, hold=False)
                look.see(number, one, view, took_ms)
            return
        half = len(some) // 2
        self._encode(some[:half])
        self._encode(some[half:])

    def _batches(self, jobs: Iterator[Job]) -> Iterator[list[Job]]:
        batch: list[Job] = []
        lengths: list[int] = []
        for job in jobs:
            length = job.length
            if batch and not self._fit.takes([*lengths, length]):
                cut = _cut(batch, job)
                yield batch[:cut]
                batch, lengths = batch[cut:], lengths[cut:]
            batch.append(job)
            lengths.append(length)
        if batch:
            yield batch

    def _answer(self, jobs: Sequence[Job]) -> None:
        """Questions about the same frames together, as they share what is read; then the rest."""
        alike: dict[tuple[int, ...], list[Job]] = {}
        for job in jobs:
            alike.setdefault(tuple(map(id, job.tokens)), []).append(job)
        for group in alike.values():
            if len(group) > 1:
                self._ask(group)
        single = [group[0] for group in alike.values() if len(group) == 1]
        for group in _even(single):
            self._ask(group)

    def _ask(self, jobs: Sequence[Job]) -> None:
        """One padded batch; where it fails, each half: one job costs no other its answer."""
        asked = [(job.tokens, job.request.question) for job in jobs]
        try:
            generations = self._pipeline.answerer.answer_batch(asked, **self._options)
        except TosaError as error:
            if len(jobs) == 1:
                jobs[0].error = error
                return
        except RuntimeError as error:
            self._give_way(error, len(jobs), 'questions')
            self._fit.halve(len(jobs))
        else:
            for job, generation in zip(jobs, generations, strict=True):
                job.answer = self._told(job, generation, len(jobs))
            return
        half = len(jobs) // 2
        self._ask(jobs[:half])
        self._ask(jobs[half:])

    def _give_way(self, error: RuntimeError, tried: int, what: str) -> None:
        """Raises what is no lack of memory, or cannot be mended by halving."""
        if not is_out_of_memory(error):
            raise error
        if tried == 1 or not self._fit.is_auto:
            raise ModelError(
                f'a batch of {tried} {what} does not fit into memory; use a smaller batch_size or '
                f'frames_per_batch, batch_size={AUTO!r}, a smaller model or fewer frames'
            ) from error
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _told(self, job: Job, generation: Generation, shared: int) -> Answer:
        vision_ms = sum(look.vision_ms for look in job.looks)
        for look in job.looks:
            look.vision_ms = 0.0
        return told(
            job.request.question,
            job.tokens,
            generation,
            self._method,
            id=job.request.id,
            frame_ids=tuple(name for look in job.looks for name in look.names),
            model=self._pipeline.model,
            vision_ms=vision_ms,
            prefill_ms=generation.prefill_ms / shared,
            decode_ms=generation.decode_ms / shared,
            views=tuple(view for look in job.looks for view in look.views if view),
        )

    def _refused(self, job: Job) -> Answer:
        return Answer(
            job.request.question,
            '',
            id=job.request.id,
            model=self._pipeline.model,
            error=str(job.fault),
            cause=job.fault,
        )


def _cut(batch: Sequence[Job], following: Job) -> int:
    """Where a full batch ends: before questions about the following frames, if others stay."""
    cut = len(batch)
    while cut and batch[cut - 1].looks == following.looks:
        cut -= 1
    return cut or len(batch)


def _even(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Jobs in batches of prompts that are about as long, so that little is padded."""
    group: list[Job] = []
    for job in sorted(jobs, key=lambda one: one.length):
        if group and group[0].length < LEAST_FILLED * job.length:
            yield group
            group = []
        group.append(job)
    if group:
        yield group
