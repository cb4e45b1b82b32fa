"""SQA3D: questions asked from a described situation in a ScanNet scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from tosa_ros.errors import DataError
from tosa_ros.evaluation.benchmarks.scenes import SceneBenchmark
from tosa_ros.evaluation.metrics.score import Score
from tosa_ros.evaluation.metrics.sqa3d import question_type, refined_match, strict_match
from tosa_ros.evaluation.questions import Defaults, Predictions, Question
from tosa_ros.evaluation.records import field, records, truths_of
from tosa_ros.files import read_json


class SQA3D(SceneBenchmark):
    """`v1_balanced_questions_*.json` with its annotations, and frames by `scene_id`."""

    name: ClassVar[str] = 'sqa3d'
    defaults: ClassVar[Defaults] = Defaults(judged=True)

    @classmethod
    def load(
        cls,
        data: Path,
        *,
        annotations: Path | None = None,
        frames_root: Path | None = None,
        depth_scale: float | None = None,
        layout: str | None = None,
    ) -> SQA3D:
        """Reads both files; the annotations are the questions' sibling if not given.

        Without either file of answers the questions are asked and not scored.
        """
        sibling = data.name.replace('_questions_', '_sqa_annotations_')
        truths, problems = truths_of(annotations, data, sibling, 'question_id')
        questions = []
        for index, record in enumerate(records(read_json(data), data, 'questions')):
            where = f'{data}: record {index}'
            qid = field(record, 'question_id', (int, str), where)
            if truths is not None and str(qid) not in truths:
                problems.append(f'{where}: question {qid} has no annotation; it is not asked')
                continue
            answers, details = _truth(*truths[str(qid)]) if truths else ((), {})
            text = field(record, 'question', str, where)
            questions.append(
                Question(
                    id=qid,
                    text=text,
                    answers=answers,
                    category=question_type(text),
                    episode=field(record, 'scene_id', str, where),
                    details={'situation': field(record, 'situation', str, where), **details},
                )
            )
        if not questions:
            raise DataError(f'{data}: not one of its questions has an annotation')
        return cls(questions, frames_root or data.parent, problems, depth_scale, layout)

    def prompt(self, question: Question, template: str | None = None) -> str:
        asked = f'{question.details["situation"]} {question.text}'
        return (template or self.template).replace('{question}', asked)

    def score(self, predictions: Predictions) -> list[Score]:
        return [
            self.score_by('SQA3D EM@1 (strict)', predictions, _any(strict_match)),
            self.score_by('SQA3D EM-R (refined)', predictions, _any(refined_match)),
        ]

    def submission(self, predictions: Predictions) -> list[dict[str, Any]]:
        return [
            {
                'question_id': q.id,
                'scene_id': q.episode,
                'situation': q.details['situation'],
                'question': q.text,
                'answer': predictions[q.id],
                'agent_pos': q.details.get('position'),
                'agent_rot': q.details.get('rotation'),
            }
            for q in self.questions
            if q.id in predictions
        ]


def _truth(record: dict, where: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    """An annotation's answers, and the pose of the one who asks."""
    answers = records(field(record, 'answers', list, where), f'{where}: answers')
    details = {name: record.get(name) for name in ('position', 'rotation')}
    return tuple(field(a, 'answer', str, where) for a in answers), details


def _any(match):
    return lambda prediction, answers: max(match(prediction, answer) for answer in answers)
