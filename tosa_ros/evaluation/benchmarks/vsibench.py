"""VSI-Bench: spatial questions about videos of indoor scans, with numbers or choices to answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tosa_ros.errors import DataError, MissingDependencyError
from tosa_ros.evaluation.benchmarks.scenes import SceneBenchmark
from tosa_ros.evaluation.metrics.score import Score, make_score
from tosa_ros.evaluation.metrics.vsibench import (
    CHOICE_TASKS,
    DIRECTION_TASKS,
    NUMERIC_TASKS,
    overall,
    score_lenient,
    score_strict,
)
from tosa_ros.evaluation.questions import Predictions, Question
from tosa_ros.evaluation.records import field, records, texts
from tosa_ros.files import read_json

OPENING = 'These are frames of a video.'
FOR_CHOICES = "Answer with the option's letter from the given choices directly."
FOR_NUMBERS = 'Please answer the question using a single word or phrase.'


class VSIBench(SceneBenchmark):
    """`test.jsonl` (or a list in JSON, or parquet), and videos `<dataset>/<scene_name>.mp4`."""

    name: ClassVar[str] = 'vsibench'
    template: ClassVar[str] = '{question}'

    @classmethod
    def load(
        cls, data: Path, *, frames_root: Path | None = None, depth_scale: float | None = None
    ) -> VSIBench:
        """Reads the questions; videos are beside them unless `frames_root` is given."""
        value = _read_parquet(data) if data.suffix == '.parquet' else read_json(data)
        questions = [
            _question(record, f'{data}: record {index}')
            for index, record in enumerate(records(value, data))
        ]
        return cls(questions, frames_root or data.parent, depth_scale=depth_scale)

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
        return [
            self._score('VSI-Bench (strict)', predictions, lenient=False),
            self._score('VSI-Bench (lenient)', predictions, lenient=True),
        ]

    def submission(self, predictions: Predictions) -> list[dict[str, Any]]:
        return [
            {
                'id': q.id,
                'question_type': q.category,
                'prediction': predictions[q.id],
                'ground_truth': q.answers[0],
            }
            for q in self.questions
            if q.id in predictions
        ]

    def _score(self, name: str, predictions: Predictions, lenient: bool) -> Score:
        values = {}
        for q in self.questions:
            said, truth = predictions.get(q.id), q.answers[0]
            if said is None:
                values[q.id] = 0.0
            elif lenient:
                values[q.id] = score_lenient(q.category, said, truth, q.details.get('options'))
            else:
                values[q.id] = score_strict(q.category, said, truth)
        score = make_score(name, values, [q.category for q in self.questions], overall)
        return replace(score, by_category=_with_direction(score.by_category))


def _with_direction(by_task: Mapping[str, float]) -> dict[str, float]:
    """The tasks, and the mean over the levels of relative direction, which the overall uses."""
    levels = [by_task[task] for task in DIRECTION_TASKS if task in by_task]
    extra = {'object_rel_direction': float(np.mean(levels))} if levels else {}
    return {**by_task, **extra}


def _question(record: dict, where: str) -> Question:
    task = field(record, 'question_type', str, where)
    truth = field(record, 'ground_truth', str, where)
    details: dict[str, Any] = {}
    if task in CHOICE_TASKS:
        details['options'] = texts(record, 'options', where)
    elif task not in NUMERIC_TASKS:
        raise DataError(
            f"{where}: field 'question_type' is {task!r}; wanted one of "
            f'{", ".join(NUMERIC_TASKS + CHOICE_TASKS)}'
        )
    elif not _is_target(truth):
        raise DataError(f"{where}: field 'ground_truth' is {truth!r}; wanted a number, not 0")
    dataset, scene = (field(record, key, str, where) for key in ('dataset', 'scene_name'))
    return Question(
        id=field(record, 'id', (int, str), where),
        text=field(record, 'question', str, where),
        answers=(truth,),
        category=task,
        episode=f'{dataset}/{scene}',
        details=details,
    )


def _is_target(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text))) and float(text) != 0
    except ValueError:
        return False


def _read_parquet(path: Path) -> list[dict]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(
            'pyarrow', 'eval', f'{path.name} (the .jsonl needs nothing): parquet'
        ) from error
    try:
        return parquet.read_table(path).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f'{path}: cannot be read as parquet: {error}') from error
