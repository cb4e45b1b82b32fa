"""Question and Benchmark: the one interface that every reader implements and the runner knows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from tosa_ros.errors import DataError
from tosa_ros.evaluation.metrics.score import QuestionId, Score, make_score
from tosa_ros.evaluation.metrics.text import exact_match, token_f1
from tosa_ros.frames import Frame

SHORT_ANSWER = '{question}\nAnswer the question using a single word or phrase.'
Predictions = Mapping[QuestionId, str]


@dataclass(frozen=True)
class Question:
    """One question of a benchmark.

    id: as in the benchmark's file. answers: what counts as right, the main one first.
    episode: names the frames it is about. details: what only this benchmark has.
    """

    id: QuestionId
    text: str
    answers: tuple[str, ...]
    category: str
    episode: str
    details: Mapping[str, Any] = field(default_factory=dict)


class Sample(NamedTuple):
    """A question with its frames, which are read when they are asked for."""

    frames: Sequence[Frame]
    question: str
    answers: tuple[str, ...]
    category: str
    id: QuestionId


class Benchmark(ABC):
    """Questions, where their frames are, and the official scorer.

    problems: what the files held that could not be used, each in a line; nothing is dropped
        without one. on_problem: told of each new one.
    """

    name: ClassVar[str]
    # How the model is asked, unless the user says otherwise.
    template: ClassVar[str] = SHORT_ANSWER
    on_problem: Callable[[str], None] | None = None

    def __init__(self, questions: Sequence[Question], problems: Sequence[str] = ()) -> None:
        self.questions, duplicates = _without_duplicates(questions)
        self.problems = [*problems, *duplicates]

    def note(self, problem: str) -> None:
        """Adds a line to `problems`, once."""
        if problem not in self.problems:
            self.problems.append(problem)
            if self.on_problem:
                self.on_problem(problem)

    @abstractmethod
    def frames(self, episode: str) -> Sequence[Frame]:
        """An episode's frames in order; each is decoded when indexed.

        Raises DataError or FrameError when they are missing or cannot be read.
        """

    def __iter__(self) -> Iterator[Sample]:
        """Every question with its frames, episode by episode."""
        for episode, questions in self.by_episode().items():
            frames = self.frames(episode)
            for q in questions:
                yield Sample(frames, q.text, q.answers, q.category, q.id)

    def by_episode(self) -> dict[str, list[Question]]:
        """The questions of each episode, in the file's order."""
        groups: dict[str, list[Question]] = {}
        for question in self.questions:
            groups.setdefault(question.episode, []).append(question)
        return groups

    def prompt(self, question: Question, template: str | None = None) -> str:
        """What the model is asked."""
        return (template or self.template).replace('{question}', question.text)

    def sampled(self, count: int, k: int) -> list[int]:
        """Which k of an episode's `count` frames are looked at: evenly spread, ends included.

        OpenEQA's rule, round(linspace); an episode with fewer frames gives each of them once.
        """
        return np.round(np.linspace(0, count - 1, min(k, count))).astype(int).tolist()

    @property
    def scored(self) -> list[Question]:
        """The questions that have an answer to compare with."""
        return [q for q in self.questions if q.answers]

    def score(self, predictions: Predictions) -> list[Score]:
        """The benchmark's metrics, the main one first. A missing prediction is wrong."""
        if not self.scored:
            return []
        return [
            self.score_by('Exact match (normalised)', predictions, exact_match),
            self.score_by('Token F1', predictions, token_f1),
        ]

    def score_by(self, name: str, predictions: Predictions, metric: Any) -> Score:
        """A metric of (prediction, answers) for each question, averaged."""
        values = {
            q.id: metric(predictions[q.id], q.answers) if q.id in predictions else 0.0
            for q in self.scored
        }
        return make_score(name, values, [q.category for q in self.scored])

    def submission(self, predictions: Predictions) -> Any:
        """The predictions in the benchmark's own format, ready for JSON."""
        return [
            {'question_id': q.id, 'answer': predictions[q.id]}
            for q in self.questions
            if q.id in predictions
        ]


def _without_duplicates(questions: Sequence[Question]) -> tuple[list[Question], list[str]]:
    if not questions:
        raise DataError('there are no questions')
    kept: dict[QuestionId, Question] = {}
    problems = []
    for question in questions:
        first = kept.setdefault(question.id, question)
        if first is not question:
            same = 'the same question' if first == question else 'another question'
            problems.append(
                f'question id {question.id!r} is there twice, with {same}; the first one is used'
            )
    return list(kept.values()), problems
