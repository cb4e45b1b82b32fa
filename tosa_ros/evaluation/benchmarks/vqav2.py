"""VQAv2: questions about COCO's photographs, ten answers each; and its counting subset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tosa_ros.errors import DataError
from tosa_ros.evaluation.metrics.score import Score
from tosa_ros.evaluation.metrics.vqa import (
    accuracy,
    accuracy_lmms,
    counting_match,
    is_counting,
)
from tosa_ros.evaluation.questions import Benchmark, Defaults, Predictions, Question
from tosa_ros.evaluation.records import field, first_existing, records, truths_of
from tosa_ros.files import read_json
from tosa_ros.frames import Frame
from tosa_ros.sources import LazyFrames, read_frame

ANNOTATORS = 10


class VQAv2(Benchmark):
    """`v2_OpenEnded_mscoco_*_questions.json` with its annotations, and COCO's images."""

    name: ClassVar[str] = 'vqav2'
    defaults: ClassVar[Defaults] = Defaults(frames=None, depths=('none', 'monocular'))

    def __init__(
        self,
        questions: Sequence[Question],
        root: Path,
        subset: str,
        problems: Sequence[str] = (),
    ) -> None:
        super().__init__(questions, problems)
        self.root, self.subset = root, subset

    @classmethod
    def load(
        cls, data: Path, *, annotations: Path | None = None, frames_root: Path | None = None
    ) -> VQAv2:
        """Reads both files; the annotations are the questions' sibling if not given.

        Without either file of answers (test, test-dev) the questions are asked and not scored.
        """
        value = read_json(data)
        sibling = data.name.replace('OpenEnded_', '').replace('questions', 'annotations')
        truths, problems = truths_of(annotations, data, sibling, 'question_id')
        questions = []
        for index, record in enumerate(records(value, data, 'questions')):
            where = f'{data}: record {index}'
            qid = field(record, 'question_id', (int, str), where)
            text = field(record, 'question', str, where)
            if not cls.takes(text):
                continue
            if truths is not None and str(qid) not in truths:
                problems.append(f'{where}: question {qid} has no annotation; it is not asked')
                continue
            answers, kind = _truth(*truths[str(qid)]) if truths else ((), '')
            image = str(field(record, 'image_id', (int, str), where))
            questions.append(Question(qid, text, answers, kind, image))
        if not questions:
            raise DataError(
                f'{data}: none of its questions belongs to {cls.name} and has an annotation'
            )
        # Test-dev is a part of test, whose images it has.
        subset = str(value.get('data_subtype', 'val2014')).replace('test-dev', 'test')
        return cls(questions, frames_root or data.parent, subset, problems)

    @classmethod
    def takes(cls, question: str) -> bool:
        """Whether a question belongs to this benchmark."""
        return True

    def frames(self, episode: str) -> Sequence[Frame]:
        number = episode.zfill(12)
        name = f'COCO_{self.subset}_{number}.jpg'
        places = [self.root / name, self.root / self.subset / name, self.root / f'{number}.jpg']
        path = first_existing(places, f'image {episode}')
        return LazyFrames([lambda: read_frame(path)])

    def score(self, predictions: Predictions) -> list[Score]:
        return [
            self.score_by('VQA accuracy', predictions, accuracy),
            self.score_by('VQA accuracy (lmms-eval)', predictions, accuracy_lmms),
        ]


def _truth(record: dict, where: str) -> tuple[tuple[str, ...], str]:
    """An annotation's ten answers, and the kind of question."""
    answers = records(field(record, 'answers', list, where), f'{where}: answers')
    if len(answers) != ANNOTATORS:
        raise DataError(f'{where}: {len(answers)} answers; wanted {ANNOTATORS}')
    return (
        tuple(field(a, 'answer', str, where) for a in answers),
        field(record, 'answer_type', str, where),
    )


class VQAv2Counting(VQAv2):
    """The questions of VQAv2 that begin with "how many", as the ToSA paper counts them."""

    name: ClassVar[str] = 'vqav2-counting'

    @classmethod
    def takes(cls, question: str) -> bool:
        return is_counting(question)

    def score(self, predictions: Predictions) -> list[Score]:
        exact = self.score_by('Exact match (counting)', predictions, counting_match)
        return [exact, *super().score(predictions)]
