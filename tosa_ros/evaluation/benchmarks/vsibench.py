"""VSI-Bench: spatial questions about videos of indoor scans, with numbers or choices to answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tosa_ros.errors import DataError
from tosa_ros.evaluation.benchmarks.scenes import SceneBenchmark
from tosa_ros.evaluation.metrics.score import Score
from tosa_ros.evaluation.metrics.vsibench import (
    CHOICE_TASKS,
    DIRECTION_TASKS,
    NUMERIC_TASKS,
    overall,
    score_lenient,
    score_lmms,
    score_strict,
)
from tosa_ros.evaluation.questions import FOR_CHOICES, Predictions, Question
from tosa_ros.evaluation.records import field, keeps_back, not_scored, records, texts, words
from tosa_ros.evaluation.tables import is_table, read_table
from tosa_ros.files import read_json

OPENING = 'These are frames of a video.'
FOR_NUMBERS = 'Please answer the question using a single word or phrase.'


class VSIBench(SceneBenchmark):
    """`test.jsonl` (or a list in JSON, or parquet, also a folder), and videos of the scenes.

    The videos are `<dataset>/<scene_name>.mp4`. Questions that are marked `pruned` can be guessed
    without looking; without them it is VSI-Bench-Debiased, which is scored as well.
    """

    name: ClassVar[str] = 'vsibench'
    template: ClassVar[str] = '{question}'

    @classmethod
    def load(
        cls,
        data: Path,
        *,
        frames_root: Path | None = None,
        depth_scale: float | None = None,
        layout: str | None = None,
    ) -> VSIBench:
        """Reads the questions; videos are beside them unless `frames_root` is given."""
        tables = data.is_dir() or is_table(data)
        found = records(read_table(data) if tables else read_json(data), data)
        blind = keeps_back(found, 'ground_truth')
        questions = [
            _question(record, blind, f'{data}: record {index}')
            for index, record in enumerate(found)
        ]
        problems = [not_scored(data)] * blind
        if all(q.details['pruned'] is False for q in questions):
            problems.append(f'{data}: none of its questions is pruned: it is VSI-Bench-Debiased')
        root = frames_root or (data if data.is_dir() else data.parent)
        return cls(questions, root, problems, depth_scale, layout)

    def prompt(self, question: Question, template: str | None = None) -> str:
        text = super().prompt(question, template)
        if question.category in NUMERIC_TASKS:
            return f'{OPENING}\n{text}\n{FOR_NUMBERS}'
        options = '\n'.join(question.details['options'])
        return f'{OPENING}\n{text}\nOptions:\n{options}\n{FOR_CHOICES}'

    def sampled(self, count: int, k: int) -> list[int]:
        """The official harness truncates where others round."""
        return np.linspace(0, count - 1, min(k, count), dtype=int).tolist()

    def score(self, predictions: Predictions) -> list[Score]:
        """The official metric, over all questions and over the unpruned ones; and variants."""
        debiased = [q for q in self.scored if q.details['pruned'] is False]
        scores = [self._score('VSI-Bench (strict)', predictions, score_strict, self.scored)]
        if debiased:
            name = 'VSI-Bench-Debiased (strict)'
            scores.append(self._score(name, predictions, score_strict, debiased))
        return [
            *scores,
            self._score('VSI-Bench (lenient)', predictions, score_lenient, self.scored),
            self._score('VSI-Bench (lmms-eval)', predictions, score_lmms, self.scored),
        ]

    def submission(self, predictions: Predictions) -> list[dict[str, Any]]:
        return [
            {
                'id': q.id,
                'question_type': q.category,
                'prediction': predictions[q.id],
                'ground_truth': q.answers[0] if q.answers else None,
            }
            for q in self.questions
            if q.id in predictions
        ]

    def _score(
        self,
        name: str,
        predictions: Predictions,
        metric: Callable[[str, str, str, Sequence[str]], float],
        questions: Sequence[Question],
    ) -> Score:
        def worth(said: str, q: Question) -> float:
            return metric(q.category, said, q.answers[0], q.details.get('options', ()))

        score = self.score_each(name, predictions, worth, questions, overall)
        return replace(score, by_category=_with_direction(score.by_category))


def _with_direction(by_task: Mapping[str, float]) -> dict[str, float]:
    """The tasks, and the mean over the levels of relative direction, which the overall uses."""
    levels = [by_task[task] for task in DIRECTION_TASKS if task in by_task]
    extra = {'object_rel_direction': float(np.mean(levels))} if levels else {}
    return {**by_task, **extra}


def _question(record: dict, blind: bool, where: str) -> Question:
    task = field(record, 'question_type', str, where)
    truth = '' if blind else words(field(record, 'ground_truth', (str, int, float), where))
    pruned = field(record, 'pruned', bool, where) if record.get('pruned') is not None else None
    details: dict[str, Any] = {'pruned': pruned}
    if task in CHOICE_TASKS:
        details['options'] = texts(record, 'options', where)
    elif task not in NUMERIC_TASKS:
        raise DataError(
            f"{where}: field 'question_type' is {task!r}; wanted one of "
            f'{", ".join(NUMERIC_TASKS + CHOICE_TASKS)}'
        )
    elif not blind and not _is_target(truth):
        raise DataError(f"{where}: field 'ground_truth' is {truth!r}; wanted a number, not 0")
    dataset, scene = (field(record, key, str, where) for key in ('dataset', 'scene_name'))
    return Question(
        id=field(record, 'id', (int, str), where),
        text=field(record, 'question', str, where),
        answers=() if blind else (truth,),
        category=task,
        episode=f'{dataset}/{scene}',
        details=details,
    )


def _is_target(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text))) and float(text) != 0
    except ValueError:
        return False
