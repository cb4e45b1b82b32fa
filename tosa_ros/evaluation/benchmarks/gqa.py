"""GQA: compositional questions about single photographs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from tosa_ros.errors import DataError
from tosa_ros.evaluation.metrics.gqa import exact_match, exact_match_lmms, kind
from tosa_ros.evaluation.metrics.score import Score
from tosa_ros.evaluation.questions import Benchmark, Defaults, Predictions, Question
from tosa_ros.evaluation.records import field, first_existing, keeps_back, not_scored
from tosa_ros.evaluation.tables import PictureTable, is_table, read_table
from tosa_ros.files import read_json
from tosa_ros.frames import Frame
from tosa_ros.sources import LazyFrames, read_frame
from tosa_ros.sources.images import decoded


class GQA(Benchmark):
    """`testdev_balanced_questions.json` with images `<imageId>.jpg`, or the hub's parquet.

    Of parquet, `--data` is `testdev_balanced_instructions` (a file or its folder), and the images
    are in `testdev_balanced_images` beside it.
    """

    name: ClassVar[str] = 'gqa'
    defaults: ClassVar[Defaults] = Defaults(frames=None, depths=('none', 'monocular'))

    def __init__(
        self, questions: Sequence[Question], root: Path, problems: Sequence[str] = ()
    ) -> None:
        super().__init__(questions, problems)
        self.root = root

    @classmethod
    def load(cls, data: Path, *, frames_root: Path | None = None) -> GQA:
        """Reads the questions; images are in `images` beside them if no root is given.

        Questions of the splits without answers (test, challenge, submission) are not scored.
        """
        found = _records(data)
        blind = keeps_back(list(found.values()), 'answer')
        questions = []
        for qid, record in found.items():
            where = f'{data}: question {qid}'
            questions.append(
                Question(
                    id=qid,
                    text=field(record, 'question', str, where),
                    answers=() if blind else (field(record, 'answer', str, where),),
                    category='' if blind and 'types' not in record else _kind(record, where),
                    episode=field(record, 'imageId', str, where),
                )
            )
        return cls(questions, frames_root or _images(data), [not_scored(data)] * blind)

    @cached_property
    def _pictures(self) -> PictureTable | None:
        """The pictures of parquet files; None where they are files of their own."""
        return PictureTable(self.root) if is_table(self.root) else None

    def frames(self, episode: str) -> Sequence[Frame]:
        if self._pictures is not None:
            data = self._pictures[episode]
            return LazyFrames([lambda: Frame(decoded(data, f'image {episode}'))])
        places = [self.root / f'{episode}{suffix}' for suffix in ('.jpg', '.png')]
        path = first_existing(places, f'image {episode}')
        return LazyFrames([lambda: read_frame(path)])

    def score(self, predictions: Predictions) -> list[Score]:
        metrics = {
            'GQA accuracy (exact match)': exact_match,
            'GQA accuracy (lmms-eval)': exact_match_lmms,
        }
        return [
            self.score_each(name, predictions, lambda said, q, m=metric: m(said, q.answers[0]))
            for name, metric in metrics.items()
        ]

    def submission(self, predictions: Predictions) -> list[dict[str, Any]]:
        return [
            {'questionId': q.id, 'prediction': predictions[q.id].rstrip('.').lower()}
            for q in self.questions
            if q.id in predictions
        ]


def _records(data: Path) -> dict[str, dict]:
    """The questions by their ids, of either format."""
    if data.is_dir() or is_table(data):
        rows = read_table(data)
        where = f'{data}: row'
        found = {field(r, 'id', str, f'{where} {n}'): r for n, r in enumerate(rows)}
        if len(found) < len(rows):
            raise DataError(f'{data}: {len(rows) - len(found)} ids appear twice')
        return found
    value = read_json(data)
    if not isinstance(value, dict) or not value:
        raise DataError(f'{data}: wanted an object of questions by their id')
    for qid, record in value.items():
        if not isinstance(record, dict):
            raise DataError(f'{data}: question {qid}: wanted an object')
    return value


def _kind(record: dict, where: str) -> str:
    types = field(record, 'types', dict, where)
    return kind(field(types, 'structural', str, f'{where}: types'))


def _images(data: Path) -> Path:
    """Where the images are: `images` beside the questions, or the parquet that belongs to them."""
    folder = data if data.is_dir() else data.parent
    beside = folder.with_name(folder.name.replace('instructions', 'images'))
    return beside if beside != folder and is_table(beside) else data.parent / 'images'
