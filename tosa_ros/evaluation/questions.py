"""Question and Benchmark: the one interface that every reader implements and the runner knows."""

from __future__ import annotations

import argparse
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from tosa_ros.errors import DataError, printable
from tosa_ros.evaluation.conditions import DEPTHS
from tosa_ros.evaluation.metrics.score import (
    Aggregate,
    QuestionId,
    Score,
    make_score,
    mean_over_questions,
)
from tosa_ros.evaluation.metrics.text import exact_match, token_f1
from tosa_ros.fetching import path_or_url
from tosa_ros.frames import Frame
from tosa_ros.settings import AUTO, MAX_NEW_TOKENS

SHORT_ANSWER = '{question}\nAnswer the question using a single word or phrase.'
FOR_CHOICES = "Answer with the option's letter from the given choices directly."
EXACT, F1 = 'Exact match (normalised)', 'Token F1'
Predictions = Mapping[QuestionId, str]
TWICE_SHOWN, LONGEST_QUOTE = 3, 60
# Options of benchmarks that are files, by the parameter of `load` that takes their value.
FILE_OPTIONS: dict[str, dict[str, Any]] = {
    'data': {
        'type': path_or_url,
        'required': True,
        'metavar': 'FILE',
        'help': 'question file, or its URL',
    },
    'annotations': {
        'type': path_or_url,
        'metavar': 'FILE',
        'help': "the questions' answers (a file beside them)",
    },
    'frames_root': {
        'type': path_or_url,
        'metavar': 'DIR',
        'help': "where the episodes' frames are (beside the question file)",
    },
    'depth_scale': {
        'type': float,
        'metavar': 'N',
        'help': "units per metre of the depth files, or of bags' 16-bit depth (1000, or what the "
        'benchmark has)',
    },
    'layout': {
        'metavar': 'NAME',
        'help': "layout of the episodes' folders (found by their files)",
    },
}
# Of those, what holds the questions; the others say where frames are and how they are read.
QUESTION_FILES = ('data', 'annotations')


@dataclass(frozen=True)
class Question:
    """One question of a benchmark.

    id: as in the benchmark's file. answers: what counts as right, the main one first; none where
    the file keeps them back, and then the question is asked and not scored. episode: names the
    frames it is about. details: what only this benchmark has.
    """

    id: QuestionId
    text: str
    answers: tuple[str, ...]
    category: str
    episode: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Defaults:
    """How a benchmark is run where the user does not say otherwise.

    frames: how many of an episode are looked at; None where an episode has a number of its own.
    batch: questions that are answered at once; 'auto': as many as fit. limit: how many questions.
    depths: which of `conditions.DEPTHS` its frames can be shown with, the default one first.
    embedded_depth: whether the embedded estimator was trained on scenes like its.
    judged: whether its answers are free text, which a judge can mark.
    """

    frames: int | None = 12
    max_new_tokens: int = MAX_NEW_TOKENS.default
    batch: int | str = AUTO
    limit: int | None = None
    methods: tuple[str, ...] = ('tosa',)
    depths: tuple[str, ...] = DEPTHS
    embedded_depth: bool = False
    judged: bool = False


class Shard(NamedTuple):
    """One of several parts of a benchmark, for processes that share the work: number 1..count."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From 'i/n'. Raises DataError for anything else."""
        number, _, count = text.partition('/')
        if number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count):
            return cls(int(number), int(count))
        raise DataError(f'--shard {text}; wanted i/n with i from 1 to n, as 1/4')

    def __str__(self) -> str:
        return f'{self.number}/{self.count}'


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
        without one. on_problem: called with each new one.
    """

    name: ClassVar[str]
    # How the model is asked, unless the user says otherwise.
    template: ClassVar[str] = SHORT_ANSWER
    defaults: ClassVar[Defaults] = Defaults()
    on_problem: Callable[[str], None] | None = None

    def __init__(self, questions: Sequence[Question], problems: Sequence[str] = ()) -> None:
        self.questions, duplicates = _without_duplicates(questions)
        self.problems = [*problems, *duplicates]

    @classmethod
    @abstractmethod
    def load(cls, **options: Any) -> Benchmark:
        """Reads the questions.

        Every parameter is an option of `tosa eval NAME`; see `add_arguments`. One called `limit`
        gets how many questions are wanted, where there are as many as one likes.
        """

    @classmethod
    def add_arguments(cls, parser: argparse._ActionsContainer) -> None:
        """Adds the options that `load` takes: those of files by their names, others by overriding.

        An option's `dest` is the name of the parameter.
        """
        for name in inspect.signature(cls.load).parameters:
            if name in FILE_OPTIONS:
                parser.add_argument(f'--{name.replace("_", "-")}', **FILE_OPTIONS[name])

    def select(self, limit: int | None = None, shard: Shard | None = None) -> None:
        """Leaves the first `limit` questions, and of those the ones of a shard's episodes.

        Raises:
            DataError: a limit below 1, or a shard that no episode is left for.
        """
        if limit is not None:
            if limit < 1:
                raise DataError(f'limit: {limit}; wanted at least 1')
            self.questions = self.questions[:limit]
        if shard is not None:
            known = list(self.by_episode())
            episodes = set(known[shard.number - 1 :: shard.count])
            if not episodes:
                raise DataError(f'--shard {shard}: there are only {len(known)} episodes to share')
            self.questions = [q for q in self.questions if q.episode in episodes]

    def guessing(self) -> dict[str, float]:
        """Percent right without looking, by category and over all ('all'), where that is known."""
        return {}

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
        """The benchmark's metrics of `scored`, the main one first. A missing prediction is wrong.

        A run calls it only where there is something to score.
        """
        if not self.scored:
            return []
        return [
            self.score_by(EXACT, predictions, exact_match),
            self.score_by(F1, predictions, token_f1),
        ]

    def score_by(
        self,
        name: str,
        predictions: Predictions,
        metric: Callable[[str, Sequence[str]], float],
        questions: Sequence[Question] | None = None,
    ) -> Score:
        """A metric of (prediction, answers) for each question, averaged."""
        return self.score_each(
            name, predictions, lambda said, q: metric(said, q.answers), questions
        )

    def score_each(
        self,
        name: str,
        predictions: Predictions,
        metric: Callable[[str, Question], float],
        questions: Sequence[Question] | None = None,
        aggregate: Aggregate = mean_over_questions,
    ) -> Score:
        """A metric of (prediction, question), over the questions that have an answer or some."""
        over = self.scored if questions is None else questions
        values = {q.id: metric(predictions[q.id], q) if q.id in predictions else 0.0 for q in over}
        categories, episodes = [q.category for q in over], [q.episode for q in over]
        return make_score(name, values, categories, aggregate, episodes)

    def submission(self, predictions: Predictions) -> Any:
        """The predictions in the benchmark's own format, ready for JSON."""
        return [
            {'question_id': q.id, 'answer': predictions[q.id]}
            for q in self.questions
            if q.id in predictions
        ]


def _without_duplicates(questions: Sequence[Question]) -> tuple[list[Question], list[str]]:
    """The questions, each once; and what was there twice, in words.

    Raises:
        DataError: there are none, or two that one id stands for. Files of predictions, values and
            marks name questions in text, so that 1 and "1" are one id.
    """
    if not questions:
        raise DataError('there are no questions')
    kept: dict[str, Question] = {}
    again = []
    for question in questions:
        first = kept.setdefault(str(question.id), question)
        if first is question:
            continue
        if first != question:
            which = f'question id {first.id!r} stands'
            if first.id != question.id:
                which = f'question ids {first.id!r} and {question.id!r} are one as text and stand'
            raise DataError(
                f'{which} for two questions, '
                f'{printable(first.text, LONGEST_QUOTE)!r} and '
                f'{printable(question.text, LONGEST_QUOTE)!r}; give each its own id'
            )
        again.append(repr(question.id))
    shown = ', '.join(again[:TWICE_SHOWN]) + ' ...' * (len(again) > TWICE_SHOWN)
    problems = [
        f'{len(again)} questions are there twice, word for word: {shown}; each is asked once'
    ]
    return list(kept.values()), problems if again else []
