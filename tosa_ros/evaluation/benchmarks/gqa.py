"""GQA: compositional questions about single photographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from tosa_ros.errors import DataError
from tosa_ros.evaluation.metrics.gqa import exact_match, kind
from tosa_ros.evaluation.metrics.score import Score
from tosa_ros.evaluation.questions import Benchmark, Defaults, Predictions, Question
from tosa_ros.evaluation.records import field, first_existing
from tosa_ros.files import read_json
from tosa_ros.frames import Frame
from tosa_ros.sources import LazyFrames, read_frame


class GQA(Benchmark):
    """`testdev_balanced_questions.json`, and images `<imageId>.jpg`."""

    name: ClassVar[str] = 'gqa'
    defaults: ClassVar[Defaults] = Defaults(frames=None, depths=('none', 'monocular'))

    def __init__(
        self, questions: Sequence[Question], root: Path, problems: Sequence[str] = ()
    ) -> None:
        super().__init__(questions, problems)
        self.root = root

    @classmethod
    def load(cls, data: Path, *, frames_root: Path | None = None) -> GQA:
        """Reads the questions; images are in `images` beside them if no root is given."""
        value = read_json(data)
        if not isinstance(value, dict) or not value:
            raise DataError(f'{data}: wanted an object of questions by their id')
        questions = []
        for qid, record in value.items():
            where = f'{data}: question {qid}'
            if not isinstance(record, dict):
                raise DataError(f'{where}: wanted an object')
            types = field(record, 'types', dict, where)
            questions.append(
                Question(
                    id=qid,
                    text=field(record, 'question', str, where),
                    answers=(field(record, 'answer', str, where),),
                    category=kind(field(types, 'structural', str, f'{where}: types')),
                    episode=field(record, 'imageId', str, where),
                )
            )
        return cls(questions, frames_root or data.parent / 'images')

    def frames(self, episode: str) -> Sequence[Frame]:
        places = [self.root / f'{episode}{suffix}' for suffix in ('.jpg', '.png')]
        path = first_existing(places, f'image {episode}')
        return LazyFrames([lambda: read_frame(path)])

    def score(self, predictions: Predictions) -> list[Score]:
        return [
            self.score_by(
                'GQA accuracy (exact match)',
                predictions,
                lambda said, truths: exact_match(said, truths[0]),
            )
        ]

    def submission(self, predictions: Predictions) -> list[dict[str, Any]]:
        return [
            {'questionId': q.id, 'prediction': predictions[q.id].rstrip('.').lower()}
            for q in self.questions
            if q.id in predictions
        ]
