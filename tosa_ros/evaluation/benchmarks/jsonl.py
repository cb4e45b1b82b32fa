"""Own questions, one JSON object a line, about images, folders, videos or bags.

    {"image": "a.png", "depth": "a-depth.png", "intrinsics": [fx, fy, cx, cy],
     "question": "What is on the desk?", "answer": "a mug", "category": "objects"}

`image` may be a list (with `depth` and `pose` lists beside it), or `episode` names a folder in
OpenEQA's layout, a video or a bag. Paths are relative to the file. With `options` ("mug" or
"A. mug"), the answer is one of their letters or texts. A question without an answer is asked and
not scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tosa_ros.errors import DataError
from tosa_ros.evaluation.metrics.choice import choice_match, chosen, listed, options_of
from tosa_ros.evaluation.metrics.score import Score
from tosa_ros.evaluation.metrics.text import exact_match, token_f1
from tosa_ros.evaluation.questions import (
    EXACT,
    F1,
    FOR_CHOICES,
    Benchmark,
    Defaults,
    Predictions,
    Question,
)
from tosa_ros.evaluation.records import answers_of, field, first_existing, records, several, texts
from tosa_ros.files import read_json
from tosa_ros.frames import Frame
from tosa_ros.sources import MILLIMETRES, LazyFrames, open_source, read_frame

FIELDS = (
    'id image images depth depth_scale intrinsics pose episode question options answer answers '
    'category'
)
MIXED = 'Right answers (exact match, or choice)'
CHOICE = 'Choice accuracy (letter or text)'


class Jsonl(Benchmark):
    """A plain file of questions."""

    name: ClassVar[str] = 'jsonl'
    defaults: ClassVar[Defaults] = Defaults(judged=True)
    template: ClassVar[str] = '{question}'

    def __init__(
        self, questions: Sequence[Question], makers: dict[str, Any], problems: Sequence[str] = ()
    ) -> None:
        super().__init__(questions, problems)
        self._makers = makers

    @classmethod
    def load(
        cls, data: Path, *, frames_root: Path | None = None, depth_scale: float | None = None
    ) -> Jsonl:
        """Reads the file; paths in it are relative to its folder or to `frames_root`."""
        root = frames_root or data.parent
        questions, makers = [], {}
        for index, record in enumerate(records(read_json(data), data)):
            where = f'{data}: record {index}'
            unknown = record.keys() - set(FIELDS.split())
            if unknown:
                raise DataError(f'{where}: unknown field {min(unknown)!r}; known: {FIELDS}')
            episode, maker = _episode(record, root, depth_scale, where)
            makers[episode] = maker
            answers, details = answers_of(record, where), {}
            if record.get('options') is not None:
                answers, details = _choice(record, answers, where)
            questions.append(
                Question(
                    id=field(record, 'id', (int, str), where) if 'id' in record else index,
                    text=field(record, 'question', str, where),
                    answers=answers,
                    category=field(record, 'category', str, where) if 'category' in record else '',
                    episode=episode,
                    details=details,
                )
            )
        return cls(questions, makers)

    def prompt(self, question: Question, template: str | None = None) -> str:
        """The question, with its options where it does not list them itself."""
        options = listed(question.details.get('options', {}))
        asked = '\n'.join([question.text, options, FOR_CHOICES]) if options else question.text
        return (template or self.template).replace('{question}', asked)

    def frames(self, episode: str) -> Sequence[Frame]:
        return self._makers[episode]()

    def score(self, predictions: Predictions) -> list[Score]:
        """Choices by what was chosen, other questions by their words; both first, if there are."""
        choices = [q for q in self.scored if 'options' in q.details]
        others = [q for q in self.scored if 'options' not in q.details]
        scores = []
        if choices and others:
            scores.append(self.score_each(MIXED, predictions, _is_right))
        if choices:
            scores.append(self.score_each(CHOICE, predictions, _is_right, choices))
        if others:
            scores += [
                self.score_by(EXACT, predictions, exact_match, others),
                self.score_by(F1, predictions, token_f1, others),
            ]
        return scores

    def guessing(self) -> dict[str, float]:
        """An even chance among the options, where every question has some."""
        chances: dict[str, list[float]] = {}
        for question in self.questions:
            if 'options' not in question.details:
                return {}
            right = len(question.details['right']) or 1
            chance = 100 * right / len(question.details['options'])
            for name in (question.category, 'all'):
                chances.setdefault(name, []).append(chance)
        return {name: sum(some) / len(some) for name, some in chances.items()}


def _is_right(said: str, question: Question) -> float:
    if 'options' not in question.details:
        return exact_match(said, question.answers)
    return choice_match(said, question.details['right'], question.details['options'])


def _choice(
    record: dict, answers: Sequence[str], where: str
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The right options in full, and the details of a question with options."""
    values = several(record, 'options', where)
    try:
        options = options_of(values)
    except ValueError as error:
        raise DataError(f"{where}: field 'options': {error}") from error
    right = []
    for answer in answers:
        letter = chosen(answer, options)
        if letter is None:
            raise DataError(
                f"{where}: field 'answer' is {answer!r}; wanted the letter or the text of one of "
                f'the options {", ".join(map(repr, values))}'
            )
        right.append(letter)
    full = tuple(f'{letter}. {options[letter]}'.removesuffix('. ') for letter in right)
    return full, {'options': options, 'right': tuple(right)}


def _episode(record: dict, root: Path, scale: float | None, where: str) -> tuple[str, Any]:
    """An identity of the set of frames, and a function that opens it."""
    scale = field(record, 'depth_scale', (int, float), where) if 'depth_scale' in record else scale
    if 'episode' in record:
        name = field(record, 'episode', str, where)
        return f'{name} {scale}', partial(_open, root / name, scale)
    images = _paths(record, 'images' if 'images' in record else 'image', where)
    depths = _paths(record, 'depth', where) if 'depth' in record else [None] * len(images)
    poses = _poses(record, len(images), where)
    for name, values in (('depth', depths), ('pose', poses)):
        if len(values) != len(images):
            raise DataError(
                f'{where}: field {name!r} has {len(values)} entries for {len(images)} images'
            )
    intrinsics = _intrinsics(record, where)
    makers = [
        partial(_frame, root, image, depth, pose, scale, intrinsics, where)
        for image, depth, pose in zip(images, depths, poses, strict=True)
    ]
    seen = (images, depths, record.get('pose'), scale, intrinsics)
    return repr(seen), lambda: _checked(makers, [root / image for image in images], where)


def _open(path: Path, scale: float | None) -> Sequence[Frame]:
    if not path.exists():
        raise DataError(f'{path}: no such folder, video or bag')
    return open_source(path, scale)


def _checked(makers: list, paths: list[Path], where: str) -> LazyFrames:
    for path in paths:
        first_existing([path], where)
    return LazyFrames(makers)


def _frame(
    root: Path,
    image: str,
    depth: str | None,
    pose: np.ndarray | None,
    scale: float | None,
    intrinsics: str | None,
    where: str,
) -> Frame:
    path = first_existing([root / image], where)
    return read_frame(
        path,
        None if depth is None else first_existing([root / depth], where),
        depth_scale=scale,
        whole_scale=MILLIMETRES,
        intrinsics=intrinsics,
        pose=pose,
    )


def _paths(record: dict, name: str, where: str) -> list[str]:
    value = field(record, name, (str, list), where)
    return [value] if isinstance(value, str) else list(texts(record, name, where))


def _intrinsics(record: dict, where: str) -> str | None:
    """'fx,fy,cx,cy', from four numbers or an object of them."""
    if record.get('intrinsics') is None:
        return None
    value = field(record, 'intrinsics', (list, dict), where)
    if isinstance(value, dict):
        value = [
            field(value, key, (int, float), f'{where}: intrinsics')
            for key in ('fx', 'fy', 'cx', 'cy')
        ]
    if len(value) != 4 or not all(isinstance(v, int | float) for v in value):
        raise DataError(f"{where}: field 'intrinsics' is {value}; wanted [fx, fy, cx, cy]")
    return ','.join(map(repr, map(float, value)))


def _poses(record: dict, count: int, where: str) -> list[np.ndarray | None]:
    if record.get('pose') is None:
        return [None] * count
    try:
        poses = np.asarray(record['pose'], np.float64)
    except (ValueError, TypeError):
        poses = np.empty(0)
    if poses.shape == (4, 4):
        poses = poses[None]
    if poses.ndim != 3 or poses.shape[1:] != (4, 4):
        raise DataError(f"{where}: field 'pose' is not a 4x4 matrix or a list of them")
    return list(poses)
