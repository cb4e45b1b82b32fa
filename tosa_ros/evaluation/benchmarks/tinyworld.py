"""The tiny world as a benchmark: episodes or single views rendered when they are looked at.

`data` is a split and how many: `test:20`. Nothing is read from disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from tosa_ros.errors import DataError
from tosa_ros.evaluation.media import LazyFrames
from tosa_ros.evaluation.metrics.score import Score
from tosa_ros.evaluation.metrics.text import exact_match
from tosa_ros.evaluation.questions import Benchmark, Predictions, Question
from tosa_ros.frames import Frame

DEFAULT_COUNT = 20


class TinyWorld(Benchmark):
    """Walks through rooms of the tiny world; questions about the whole walk."""

    name: ClassVar[str] = 'tinyworld-walks'
    template: ClassVar[str] = '{question}'

    def __init__(self, questions: Sequence[Question], split: str) -> None:
        super().__init__(questions)
        self.split = split

    @classmethod
    def load(cls, data: Path) -> TinyWorld:
        """Asks the tiny world for its questions; `data` is 'test' or 'test:20'."""
        from tosa_ros.synthetic import SPLITS

        split, _, count = str(data).partition(':')
        if split not in SPLITS or not (count or '1').isdigit() or count == '0':
            raise DataError(
                f'--data {data}: wanted SPLIT or SPLIT:COUNT with a split of {", ".join(SPLITS)}'
            )
        questions = []
        for index in range(int(count or DEFAULT_COUNT)):
            for number, asked in enumerate(cls.made(split, index).questions):
                questions.append(
                    Question(
                        id=f'{split}-{index}-{number}',
                        text=asked.text,
                        answers=(asked.answer,),
                        category=asked.type,
                        episode=str(index),
                    )
                )
        return cls(questions, split)

    @classmethod
    def made(cls, split: str, index: int) -> Any:
        """What the tiny world has under this number: questions and frames."""
        from tosa_ros.synthetic import episode

        return episode(split, index)

    def frames(self, episode: str) -> Sequence[Frame]:
        return self.made(self.split, int(episode)).frames

    def score(self, predictions: Predictions) -> list[Score]:
        return [self.score_by('Exact match (normalised)', predictions, exact_match)]


class TinyWorldViews(TinyWorld):
    """Single views of the tiny world."""

    name: ClassVar[str] = 'tinyworld-views'

    @classmethod
    def made(cls, split: str, index: int) -> Any:
        from tosa_ros.synthetic import single

        return single(split, index)

    def frames(self, episode: str) -> Sequence[Frame]:
        frame = self.made(self.split, int(episode)).frame
        return LazyFrames([lambda: frame])
