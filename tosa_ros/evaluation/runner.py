"""Asks a benchmark's questions, episode by episode, and keeps every answer.

An episode's frames are decoded once for all methods, while earlier ones are being answered, and
encoded once by each.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tosa_ros.ahead import ahead
from tosa_ros.errors import DataError
from tosa_ros.evaluation.asking import Asker, Asking, Episode, Said, episode_frames, windows
from tosa_ros.evaluation.flops import flops
from tosa_ros.evaluation.journal import Journal
from tosa_ros.evaluation.metrics.score import QuestionId
from tosa_ros.evaluation.questions import Benchmark
from tosa_ros.evaluation.run_folder import PROBLEMS, RunFolder
from tosa_ros.merging import MergingMethod

if TYPE_CHECKING:
    from tosa_ros.pipeline import VqaPipeline

EPISODES_AHEAD = 2  # decoded before they are needed


@dataclass
class Outcome:
    """What a run has: answers by label, and why there are none for some questions.

    answers: label -> the journal's records. faults: what could not be asked (an episode or a
    question) -> why.
    """

    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    def predictions(self, label: str) -> dict[QuestionId, str]:
        return {record['question_id']: record['answer'] for record in self.answers[label]}


class Answerers(Protocol):
    """Who asks about whole episodes: this process, or others."""

    def said(self, episodes: Iterable[Episode]) -> Iterator[Said]:
        """What came of asking what is open of each; in any order, as it comes."""
        ...


class Here:
    """Asks in this process; episodes are decoded ahead, and short ones asked together."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    def said(self, episodes: Iterable[Episode]) -> Iterator[Said]:
        asker = self._asker
        with contextlib.closing(ahead(episodes, asker.decode, EPISODES_AHEAD)) as decoded:
            for window in windows(decoded, asker.at_once):
                yield from asker.ask(window)


def evaluate(
    benchmark: Benchmark,
    pipeline: VqaPipeline,
    methods: Mapping[str, MergingMethod],
    folder: RunFolder,
    asking: Asking | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Answers every question by every method, but those that the folder has answers to.

    Args:
        methods: by the label under which the folder keeps their answers.
        progress: called with answers there are and answers wanted, after each.

    Raises:
        DataError: not one question could be asked.
    """
    here = Here(Asker(benchmark, pipeline, methods, asking or Asking()))
    return evaluate_by(here, benchmark, methods, folder, progress)


def evaluate_by(
    answerers: Answerers,
    benchmark: Benchmark,
    methods: Mapping[str, MergingMethod],
    folder: RunFolder,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """The same, whoever asks; this process alone writes, and keeps a question's first answer."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(problems_kept(benchmark, folder.path))
        journals = {
            label: stack.enter_context(folder.journal(label, method))
            for label, method in methods.items()
        }
        run = _Run(benchmark, journals, progress)
        with contextlib.closing(answerers.said(run.work())) as all_said:
            for said in all_said:
                run.take(said)
    outcome = run.outcome
    outcome.answers = {label: list(journal.records) for label, journal in journals.items()}
    _add_earlier(outcome, folder)
    something_of(outcome, benchmark)
    return outcome


def gather(
    benchmark: Benchmark, methods: Mapping[str, MergingMethod], folder: RunFolder
) -> Outcome:
    """The answers that a run's folder and its shards have; what is lacking is a fault.

    Raises:
        DataError: not one question has an answer.
    """
    outcome = Outcome()
    wanted = [q.id for q in benchmark.questions]
    with problems_kept(benchmark, folder.path):
        for label, method in methods.items():
            with folder.journal(label, method) as journal:
                outcome.answers[label] = list(journal.records)
            done = {record['question_id'] for record in journal.records}
            lacking = [qid for qid in wanted if qid not in done]
            if lacking:
                outcome.faults[f'method {label}'] = (
                    f'{len(lacking)} of {len(wanted)} questions have no answer, the first '
                    f'{lacking[0]!r}: a shard is missing or not complete'
                )
    something_of(outcome, benchmark)
    return outcome


class _Run:
    """What a run has answers to, and where new ones go."""

    def __init__(
        self,
        benchmark: Benchmark,
        journals: Mapping[str, Journal],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.benchmark, self.journals, self.progress = benchmark, journals, progress
        self.outcome = Outcome()
        self.done = {
            label: {record['question_id'] for record in journal.records}
            for label, journal in journals.items()
        }
        self._tick()

    def work(self) -> Iterator[Episode]:
        """The episodes of which something is open, in their order."""
        for name, questions in self.benchmark.by_episode().items():
            left = {
                label: open_ones
                for label, done in self.done.items()
                if (open_ones := [q for q in questions if q.id not in done])
            }
            if left:
                yield Episode(name, left)

    def take(self, said: Said) -> None:
        """Keeps answers, faults and notes."""
        for line in said.notes:
            self.benchmark.note(line)
        self.outcome.faults |= said.faults
        if not said.records:
            return
        done = self.done[said.label]
        new = [record for record in said.records if record['question_id'] not in done]
        self.journals[said.label].extend(new)
        done |= {record['question_id'] for record in new}
        self._tick()

    def _tick(self) -> None:
        if self.progress:
            answered = sum(len(journal.records) for journal in self.journals.values())
            self.progress(answered, len(self.benchmark.questions) * len(self.journals))


def _add_earlier(outcome: Outcome, folder: RunFolder) -> None:
    """Adds the answers of methods that were asked before, as far as they are complete."""
    asked = {r['question_id'] for records in outcome.answers.values() for r in records}
    for label, records in folder.answers(besides=outcome.answers):
        lacking = len(asked - {record['question_id'] for record in records})
        if lacking:
            outcome.faults[f'method {label}'] = (
                f'left out: it lacks {lacking} answers; ask it again to have it in the report'
            )
        else:
            outcome.answers[label] = records


@contextlib.contextmanager
def problems_kept(benchmark: Benchmark, folder: Path) -> Iterator[None]:
    """Problems met while asking stay with the answers, and come back when a run is taken up."""
    with Journal(folder / PROBLEMS, _check_problem) as journal:
        for record in journal.records:
            benchmark.note(record['problem'])
        benchmark.on_problem = lambda problem: journal.append({'problem': problem})
        try:
            yield
        finally:
            benchmark.on_problem = None


def _check_problem(record: dict[str, Any]) -> None:
    if not isinstance(record.get('problem'), str):
        raise ValueError('no problem in words')


def something_of(outcome: Outcome, benchmark: Benchmark) -> None:
    """Raises DataError, with the first reason, where there is not one answer."""
    if not any(outcome.answers.values()):
        what, why = next(iter(outcome.faults.items()))
        raise DataError(f'{benchmark.name}: no question was answered; {what}: {why}')


def gigaflops(
    benchmark: Benchmark,
    pipeline: VqaPipeline,
    methods: Mapping[str, MergingMethod],
    asking: Asking,
) -> dict[str, float]:
    """10^9 operations of matrix products and attention, as executed, for the first question.

    By method. Of the frames' vision, the prompt, and the first word of the answer.
    """
    first = benchmark.questions[0]
    frames = episode_frames(benchmark, first.episode, asking)
    prompt = benchmark.prompt(first, asking.template)
    counts = {}
    for label, method in methods.items():
        pipeline.merging = method

        def ask() -> None:
            tokens = pipeline.encoder.encode(frames)
            pipeline.answerer.answer_batch([(tokens, prompt)], max_new_tokens=1)

        counts[label] = flops(ask) / 1e9
    return counts
