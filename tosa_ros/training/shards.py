"""Tiny-world data on disk: views, labels and questions rendered once, read back memory-mapped.

A shard is a folder of .npy files and the questions as JSON, written beside its place and then
renamed, so a folder that is there is whole. A producer process renders ahead of the trainer.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tosa_ros.errors import DataError
from tosa_ros.files import whole_folder

SIZE = 128
MAX_OBJECTS = 48
MAX_QUESTIONS = {'single': 16, 'episode': 16}
SIZES = ('small', 'medium', 'large')
STATES = ('upright', 'fallen')


@dataclass(frozen=True)
class Source:
    """Which samples of the world: single views or episodes, of which split.

    kind: 'single' or 'episode'. frames: views a sample. shard: samples a shard.
    """

    kind: str = 'single'
    split: str = 'train'
    frames: int = 1
    shard: int = 512

    def __post_init__(self) -> None:
        if self.kind not in MAX_QUESTIONS:
            raise DataError(f'kind: {self.kind!r}; wanted {" or ".join(MAX_QUESTIONS)}')
        if self.kind == 'single' and self.frames != 1:
            raise DataError(f'frames: {self.frames}; a single view has 1')

    @property
    def name(self) -> str:
        return f'{self.split}-{self.kind}{self.frames}'

    def samples(self, number: int) -> list:
        """The samples of one shard, rendered now."""
        from tosa_ros import synthetic

        indices = range(number * self.shard, (number + 1) * self.shard)
        if self.kind == 'single':
            return [
                synthetic.single(self.split, i, questions=MAX_QUESTIONS['single']) for i in indices
            ]
        return [synthetic.episode(self.split, i, frames=self.frames) for i in indices]


def shard_path(cache: Path, source: Source, number: int) -> Path:
    return Path(cache) / source.name / f'{number:05d}'


def write_shard(cache: Path, source: Source, number: int) -> Path:
    """Renders a shard unless it is there; safe beside other writers."""
    path = shard_path(cache, source, number)
    if path.exists():
        return path
    samples = source.samples(number)
    try:
        with whole_folder(path) as folder:
            folder.mkdir()
            for name, array in _arrays(samples).items():
                np.save(folder / f'{name}.npy', array)
            questions = [
                [[q.text, q.answer, q.type] for q in s.questions[: MAX_QUESTIONS[source.kind]]]
                for s in samples
            ]
            (folder / 'questions.json').write_text(json.dumps(questions))
    except DataError:
        if not path.exists():  # else another writer was faster with the same samples
            raise
    return path


def write_shards(cache: Path, source: Source, samples: int) -> None:
    """Renders what is missing of the shards that hold so many samples."""
    for number in range(-(-samples // source.shard)):
        write_shard(cache, source, number)


def _arrays(samples: list) -> dict[str, np.ndarray]:
    from tosa_ros.synthetic import COLOURS, FLOORS, SHAPES

    frames = [getattr(s, 'frames', None) or (s.frame,) for s in samples]
    instances = [np.asarray(s.instances) for s in samples]
    objects = np.full((len(samples), MAX_OBJECTS, 5), 255, np.uint8)
    for row, sample in zip(objects, samples, strict=True):
        if len(sample.objects) > MAX_OBJECTS:
            raise DataError(f'{len(sample.objects)} objects in a sample; at most {MAX_OBJECTS}')
        for i, o in enumerate(sample.objects):
            row[i] = (
                SHAPES.index(o.shape),
                COLOURS.index(o.colour),
                SIZES.index(o.size_name),
                STATES.index(o.state),
                FLOORS.index(o.room),
            )
    return {
        'rgb': np.stack([np.stack([f.rgb for f in fs]) for fs in frames]),
        'depth': np.stack([np.stack([f.depth_m for f in fs]) for fs in frames]).astype(np.float16),
        'instances': np.stack([i.reshape(-1, SIZE, SIZE) for i in instances]).astype(np.int8),
        'objects': objects,
    }


@dataclass(frozen=True, eq=False)
class Shard:
    """An open shard. rgb (N, F, 128, 128, 3) uint8, depth (N, F, 128, 128) float16 metres,
    instances (N, F, 128, 128) int8, objects (N, K, 5) uint8: shape, colour, size, state, floor;
    questions: for each sample a list of (text, answer, type).
    """

    rgb: np.ndarray
    depth: np.ndarray
    instances: np.ndarray
    objects: np.ndarray
    questions: list[list[tuple[str, str, str]]]


def open_shard(path: Path) -> Shard:
    """Raises: DataError: a file of the shard is missing or damaged."""
    try:
        arrays = {
            name: np.load(path / f'{name}.npy', mmap_mode='r')
            for name in ('rgb', 'depth', 'instances', 'objects')
        }
        questions = json.loads((path / 'questions.json').read_text())
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f'shard {path}: {error}; delete the folder to render it again') from error
    return Shard(questions=questions, **arrays)


def wait_for_shard(cache: Path, source: Source, number: int, timeout_s: float = 900.0) -> Shard:
    """Opens a shard, waiting for a producer that has not come to it yet."""
    path = shard_path(cache, source, number)
    deadline = time.monotonic() + timeout_s
    while not path.exists():
        if time.monotonic() > deadline:
            raise DataError(
                f'shard {path} did not appear in {timeout_s:g} s: is its producer alive? '
                'Start the training again'
            )
        time.sleep(0.2)
    return open_shard(path)


def produce(cache: Path, source: Source, numbers: range) -> None:
    """Renders shards one after the other; ends with its parent."""
    parent = os.getppid()
    os.nice(5)
    for number in numbers:
        write_shard(cache, source, number)
        if os.getppid() != parent:
            return


def start_producer(cache: Path, source: Source, numbers: range) -> multiprocessing.Process:
    """A process of one thread that renders shards ahead of the trainer."""
    process = multiprocessing.get_context('spawn').Process(
        target=produce, args=(cache, source, numbers), daemon=True
    )
    before = os.environ.get('OMP_NUM_THREADS')
    os.environ['OMP_NUM_THREADS'] = '1'
    process.start()
    if before is None:
        del os.environ['OMP_NUM_THREADS']
    else:
        os.environ['OMP_NUM_THREADS'] = before
    return process
