"""The tiny world as a benchmark: views or walks, rendered, each with its questions.

Nothing is read from disk. A rendered scene is kept, so that every method sees the same one.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tosa_ros.errors import DataError
from tosa_ros.evaluation.metrics.score import Score
from tosa_ros.evaluation.questions import Benchmark, Defaults, Predictions, Question
from tosa_ros.frames import Frame

SCENES = ('views', 'walks')
QUESTIONS_A_VIEW = 12
QUESTIONS_A_WALK = 16
FRAMES_A_WALK = 8
LIMIT = 4320
METHODS = ('none', 'tome', 'tofu', 'pitome', 'tosa')


class TinyWorld(Benchmark):
    """Single views of rooms, or walks through them; the embedded model was trained on others."""

    name: ClassVar[str] = 'tinyworld'
    template: ClassVar[str] = '{question}'
    defaults: ClassVar[Defaults] = Defaults(
        frames=None,
        max_new_tokens=6,
        limit=LIMIT,
        methods=METHODS,
        embedded_depth=True,
    )

    def __init__(self, scenes: Mapping[str, tuple[Sequence[Frame], Sequence[Any]]]) -> None:
        """scenes: frames and questions (of `tosa_ros.synthetic`) by the scene's name."""
        super().__init__(
            [
                Question(
                    id=f'{scene}-{number}',
                    text=asked.text,
                    answers=(asked.answer,),
                    category=asked.type,
                    episode=scene,
                    details={'options': asked.options},
                )
                for scene, (_, questions) in scenes.items()
                for number, asked in enumerate(questions)
            ]
        )
        self._frames = {scene: frames for scene, (frames, _) in scenes.items()}

    @classmethod
    def add_arguments(cls, parser: argparse._ActionsContainer) -> None:
        from tosa_ros.synthetic import SPLITS

        parser.add_argument('--split', choices=SPLITS, default='test', help='(test)')
        parser.add_argument(
            '--scenes', choices=SCENES, default='views', help='single views, or walks (views)'
        )
        parser.add_argument(
            '--frames', type=int, metavar='K', help=f'frames per walk ({FRAMES_A_WALK})'
        )

    @classmethod
    def load(
        cls,
        *,
        split: str = 'test',
        scenes: str = 'views',
        frames: int | None = None,
        limit: int = LIMIT,
    ) -> TinyWorld:
        """Renders enough scenes of a split for so many questions.

        Raises:
            DataError: no such split or scenes, frames of views, or no question or frame wanted.
        """
        from tosa_ros.synthetic import episode, single

        if scenes not in SCENES:
            raise DataError(f'scenes: {scenes!r}; wanted one of {", ".join(SCENES)}')
        if frames is not None and scenes == 'views':
            raise DataError(f'--frames {frames}: a view is one frame; use it with --scenes walks')
        if limit < 1:
            raise DataError(f'limit: {limit}; wanted at least 1')
        found: dict[str, tuple[Sequence[Frame], Sequence[Any]]] = {}
        while limit > 0:
            index = len(found)
            if scenes == 'walks':
                count = FRAMES_A_WALK if frames is None else frames
                made = episode(split, index, frames=count, questions=QUESTIONS_A_WALK)
                shown = made.frames
            else:
                made = single(split, index, questions=QUESTIONS_A_VIEW)
                shown = (made.frame,)
            found[f'{split}-{index}'] = (shown, made.questions[:limit])
            limit -= len(made.questions)
        return cls(found)

    def frames(self, episode: str) -> Sequence[Frame]:
        return self._frames[episode]

    def score(self, predictions: Predictions) -> list[Score]:
        return [self.score_by('Right answers (word for word)', predictions, _is_right)]

    def guessing(self) -> dict[str, float]:
        """A type's most frequent answer, or an even chance among the options its questions name.

        The better of the two, for each type; over several types, by their numbers of questions.
        """
        expected = {}
        counts = Counter(q.category for q in self.questions)
        for kind in counts:
            of_kind = [q for q in self.questions if q.category == kind]
            majority = Counter(q.answers[0] for q in of_kind).most_common(1)[0][1]
            chance = sum(1 / len(q.details['options']) for q in of_kind if q.details['options'])
            expected[kind] = max(majority, chance)
        shares = {kind: 100 * right / counts[kind] for kind, right in expected.items()}
        return {**shares, 'all': 100 * sum(expected.values()) / len(self.questions)}


def _is_right(said: str, answers: Sequence[str]) -> float:
    return float(said.strip().lower() == answers[0])
