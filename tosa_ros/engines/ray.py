"""RayEngine: `ask_many` by pipelines in several processes or on several machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from tosa_ros.engines.workers import LOCAL, RayWorkers
from tosa_ros.errors import QuestionError
from tosa_ros.merging import MergingMethod
from tosa_ros.pipeline import Answer, LocalEngine, Request, VqaPipeline
from tosa_ros.pipeline.many import OnError, Progress, answered

AT_ONCE = 32  # requests that a worker is given


class RayEngine:
    """Answers requests by workers, each with a pipeline of its own; see `RayWorkers`.

    path_or_id: a checkpoint, on the workers' machines. at_once: requests that a worker is given
    at a time; what of them is about the same frames should come one behind the other. model: how
    the checkpoint is loaded, as `VqaPipeline.from_pretrained` has it (device, dtype ...). options:
    as of `LocalEngine` (batch_size, max_new_tokens ...).

    Frames travel with the requests: paths are read where the worker is, pictures and arrays are
    sent. An Answer from a worker has no picture in a notebook.

    Raises:
        MissingDependencyError: Ray is not installed.
        WorkersError: the cluster is not there, or too small.
    """

    def __init__(
        self,
        path_or_id: str | Path,
        *,
        merging: MergingMethod | None = None,
        num_workers: int = 1,
        cpus_per_worker: float = 1,
        gpus_per_worker: float = 0,
        address: str = LOCAL,
        at_once: int = AT_ONCE,
        model: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        if at_once < 1:
            raise QuestionError(f'at_once: {at_once}; wanted at least 1')
        loading = {'merging': merging, **(model or {})}
        make = partial(_answering, str(path_or_id), loading, options)
        self._at_once = at_once
        self.workers = RayWorkers(
            make, num_workers, cpus=cpus_per_worker, gpus=gpus_per_worker, address=address
        )

    def ask_many(
        self,
        requests: Iterable[Any],
        *,
        progress: bool | Progress = True,
        on_error: OnError = 'raise',
    ) -> Iterator[Answer]:
        """As `VqaPipeline.ask_many`, without a pipeline in this process."""
        return answered(self, requests, progress, on_error)

    def answers(self, requests: Iterable[Request]) -> Iterator[Answer]:
        """An Answer to each request, in order; those that come early wait for their turn."""
        early: dict[int, list[Answer]] = {}
        turn = 0
        for done in self.workers.map(enumerate(_parts(requests, self._at_once))):
            number, part = done.item
            early[number] = done.result or [
                Answer(one.question, '', id=one.id, error=done.error) for one in part
            ]
            while turn in early:
                yield from early.pop(turn)
                turn += 1

    def close(self) -> None:
        """Ends the workers."""
        self.workers.close()

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _answering(
    path: str, loading: dict[str, Any], options: dict[str, Any]
) -> Callable[[tuple[int, list[Request]]], list[Answer]]:
    """In a worker: the function that answers a part of the requests."""
    engine = LocalEngine(VqaPipeline.from_pretrained(path, **loading), **options)
    return lambda numbered: list(engine.answers(numbered[1]))


def _parts(requests: Iterable[Request], size: int) -> Iterator[list[Request]]:
    source = iter(requests)
    while part := list(islice(source, size)):
        yield part
