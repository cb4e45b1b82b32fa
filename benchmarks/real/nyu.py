"""NYUv2's labelled frames and DAQUAR's questions about them, from a folder of files.

The folder holds `rgb/NNNN.jpg`, `depth/NNNN.png`, `labels40/NNNN.png` and `daquar/train.jsonl`,
`daquar/test.jsonl` in this project's question format. A frame belongs to the split whose
questions name it, which is NYUv2's official split.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from tosa_ros.errors import DataError
from tosa_ros.frames import Frame, Intrinsics

SPLITS = ('train', 'test')
# By the number in labels40. Pixels that nobody labelled have the last number too.
CLASSES = (
    'wall', 'floor', 'cabinet', 'bed', 'chair', 'sofa', 'table', 'door', 'window', 'bookshelf',
    'picture', 'counter', 'blinds', 'desk', 'shelves', 'curtain', 'dresser', 'pillow', 'mirror',
    'floor mat', 'clothes', 'ceiling', 'books', 'refridgerator', 'television', 'paper', 'towel',
    'shower curtain', 'box', 'whiteboard', 'person', 'night stand', 'toilet', 'sink', 'lamp',
    'bathtub', 'bag', 'other structure', 'other furniture', 'other or none',
)  # fmt: skip
DEPTH_SCALE = 25.5
# Depth was rounded down to steps of 1 / DEPTH_SCALE metres: the middle of a step is nearer.
HALF_STEP_M = 0.5 / DEPTH_SCALE
INTRINSICS = (518.857901, 519.469611, 277.582449, 205.736166)


@dataclass(frozen=True)
class Asked:
    """One question with its only right answer; `kind` is what sort of question it is."""

    kind: str
    question: str
    answer: str


@dataclass(frozen=True, eq=False)
class Scene:
    """A frame's arrays: rgb (H, W, 3) uint8, depth_m (H, W) float32, labels (H, W) uint8."""

    number: int
    rgb: np.ndarray
    depth_m: np.ndarray
    labels: np.ndarray

    def frame(self) -> Frame:
        """As a robot's camera would give it. For whole scenes: a crop has another camera."""
        height, width = self.depth_m.shape
        camera = Intrinsics(*INTRINSICS, width, height)
        return Frame(rgb=self.rgb, depth_m=self.depth_m, intrinsics=camera)


@dataclass(frozen=True)
class View:
    """How a scene is shown: the part (left, top, right, bottom, fractions), mirrored or not."""

    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    mirrored: bool = False

    @property
    def whole(self) -> bool:
        return self.box == (0.0, 0.0, 1.0, 1.0)

    def of(self, scene: Scene) -> Scene:
        height, width = scene.labels.shape
        left, top, right, bottom = self.box
        rows = slice(round(top * height), round(bottom * height))
        columns = slice(round(left * width), round(right * width))
        step = -1 if self.mirrored else 1

        def cut(array: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(array[rows, columns][:, ::step])

        arrays = {name: cut(getattr(scene, name)) for name in ('rgb', 'depth_m', 'labels')}
        return replace(scene, **arrays)


def numbers(folder: Path, split: str) -> list[int]:
    """The frames of a split, in order."""
    return sorted(daquar(folder, split))


@cache
def daquar(folder: Path, split: str) -> dict[int, list[Asked]]:
    """DAQUAR's questions of a split, by the number of their frame.

    Raises DataError where the file is missing or one of its lines is malformed.
    """
    path = Path(folder) / 'daquar' / f'{split}.jsonl'
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except OSError as error:
        raise DataError(f'{path}: cannot be read ({error.strerror}); wanted DAQUAR') from error
    asked: dict[int, list[Asked]] = {}
    for at, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            number = int(Path(row['image']).stem)
            one = Asked(f'daquar {row["category"]}', row['question'], row['answer'])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f'{path}, line {at}: {error!r}; wanted a question') from error
        asked.setdefault(number, []).append(one)
    return asked


def scene(folder: Path, number: int) -> Scene:
    """One frame's arrays. Raises DataError where a file is missing or odd."""
    read = {}
    for part, suffix in (('rgb', 'jpg'), ('depth', 'png'), ('labels40', 'png')):
        path = Path(folder) / part / f'{number:04d}.{suffix}'
        try:
            with Image.open(path) as image:
                read[part] = np.asarray(image)
        except OSError as error:
            raise DataError(f'{path}: cannot be read ({error})') from error
    labels, depth = read['labels40'], read['depth']
    if labels.max() >= len(CLASSES):
        raise DataError(f'{folder}/labels40/{number:04d}.png: class {labels.max()}; wanted 0-39')
    if not read['rgb'].shape[:2] == depth.shape == labels.shape:
        raise DataError(f'{folder}: frame {number}: colour, depth and labels differ in size')
    metres = np.where(depth > 0, depth / np.float32(DEPTH_SCALE) + np.float32(HALF_STEP_M), np.nan)
    return Scene(number, read['rgb'], metres.astype(np.float32), labels)
