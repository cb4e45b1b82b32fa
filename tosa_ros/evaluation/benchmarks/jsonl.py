"""Own questions, one JSON object a line, about images, folders, videos or bags.

    {"image": "a.png", "depth": "a-depth.png", "intrinsics": [fx, fy, cx, cy],
     "question": "What is on the desk?", "answer": "a mug", "category": "objects"}

`image` may be a list (with `depth` and `pose` lists beside it), or `episode` names a folder of
frames (`layout` where its files do not show it), a video or a bag. Paths are relative to the file.
With `options` ("mug" or "A. mug"), the answer is one of their letters or texts. A question without
an answer is asked and not scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tosa_ros.errors import DataError
from tosa_ros.evaluation.own import OwnQuestions, own_question
from tosa_ros.evaluation.questions import Question
from tosa_ros.evaluation.records import field, first_existing, records, texts
from tosa_ros.files import read_json
from tosa_ros.frames import Frame
from tosa_ros.sources import MILLIMETRES, LazyFrames, open_source, read_frame

FIELDS = (
    'id image images depth depth_scale intrinsics pose episode layout question options answer '
    'answers category'
)


class Jsonl(OwnQuestions):
    """A plain file of questions."""

    name: ClassVar[str] = 'jsonl'

    def __init__(
        self, questions: Sequence[Question], makers: dict[str, Any], problems: Sequence[str] = ()
    ) -> None:
        super().__init__(questions, problems)
        self._makers = makers

    @classmethod
    def load(
        cls,
        data: Path,
        *,
        frames_root: Path | None = None,
        depth_scale: float | None = None,
        layout: str | None = None,
    ) -> Jsonl:
        """Reads the file; paths in it are relative to its folder or to `frames_root`."""
        root = frames_root or data.parent
        questions, makers = [], {}
        for index, record in enumerate(records(read_json(data), data)):
            where = f'{data}: record {index}'
            unknown = record.keys() - set(FIELDS.split())
            if unknown:
                raise DataError(f'{where}: unknown field {min(unknown)!r}; known: {FIELDS}')
            episode, maker = _episode(record, root, depth_scale, layout, where)
            makers[episode] = maker
            questions.append(own_question(record, index, episode, where))
        return cls(questions, makers)

    def frames(self, episode: str) -> Sequence[Frame]:
        return self._makers[episode]()


def _episode(
    record: dict, root: Path, scale: float | None, layout: str | None, where: str
) -> tuple[str, Any]:
    """An identity of the set of frames, and a function that opens it."""
    scale = field(record, 'depth_scale', (int, float), where) if 'depth_scale' in record else scale
    if 'episode' in record:
        name = field(record, 'episode', str, where)
        layout = field(record, 'layout', str, where) if 'layout' in record else layout
        return f'{name} {scale} {layout}', partial(_open, root / name, scale, layout)
    if 'layout' in record:
        raise DataError(f"{where}: field 'layout' goes with 'episode', a folder")
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


def _open(path: Path, scale: float | None, layout: str | None) -> Sequence[Frame]:
    if not path.exists():
        raise DataError(f'{path}: no such folder, video or bag')
    return open_source(path, scale, layout)


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
