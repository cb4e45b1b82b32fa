"""Episodes asked in other processes: what goes there, what comes back, and who keeps it.

A worker has the questions and a model of its own; it is sent an episode's name and what is open.
Only the process that sends keeps answers, so that a worker may die at any moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tosa_ros.evaluation.asking import Asker, Episode, Said
from tosa_ros.evaluation.metrics.score import QuestionId


@dataclass(frozen=True)
class Errand:
    """What a worker is sent: an episode's name, and which questions are open, by label."""

    name: str
    open: Mapping[str, Sequence[QuestionId]]


class Workers(Protocol):
    """Who has the workers, such as `tosa_ros.engines.workers.RayWorkers`."""

    def map(self, items: Iterable[Any]) -> Iterator[Any]:
        """For each item its result, or an error in words, in any order."""
        ...


class Elsewhere:
    """Asks by workers, each of which runs what `errand_runner` makes."""

    def __init__(self, workers: Workers) -> None:
        self.workers = workers

    def said(self, episodes: Iterable[Episode]) -> Iterator[Said]:
        """What came of asking about each episode, as workers are done with it."""
        errands = (
            Errand(one.name, {label: [q.id for q in some] for label, some in one.open.items()})
            for one in episodes
        )
        for done in self.workers.map(errands):
            if done.error:
                yield Said(faults={f'episode {done.item.name}': done.error})
            else:
                yield from done.result


def errand_runner(asker: Asker) -> Callable[[Errand], list[Said]]:
    """A worker's function: an errand -> all that came of it."""
    benchmark = asker.benchmark
    known = {question.id: question for question in benchmark.questions}

    def run(errand: Errand) -> list[Said]:
        noted = len(benchmark.problems)
        questions = {label: [known[i] for i in ids] for label, ids in errand.open.items()}
        said = list(asker.ask([asker.decode(Episode(errand.name, questions))]))
        return [*said, Said(notes=list(benchmark.problems[noted:]))]

    return run
