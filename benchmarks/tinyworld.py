"""Runs of the tiny world: every method and baseline on its questions, answered once and kept."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

import tosa_ros
from benchmarks.real import baselines
from tosa_ros.assets import embedded_depth, embedded_model
from tosa_ros.depth import MonocularDepth
from tosa_ros.evaluation.asking import Asking
from tosa_ros.evaluation.benchmarks.tinyworld import TinyWorld
from tosa_ros.evaluation.conditions import Change, shown
from tosa_ros.evaluation.results import cost
from tosa_ros.evaluation.run_folder import RunFolder
from tosa_ros.evaluation.runner import evaluate, gigaflops
from tosa_ros.files import write_text
from tosa_ros.loading import model_fingerprint
from tosa_ros.merging import MergingMethod, NoMerging, ToSA, method_from, settings_of
from tosa_ros.pipeline import VqaPipeline
from tosa_ros.settings.merging import ALPHA_SCHEDULES
from tosa_ros.spatial import SpatialTokens
from tosa_ros.vision import MergedTokens, adapter_for
from tosa_ros.vlm import VisionEncoder

KEEPS = (0.75, 0.5, 0.25, 0.1)
OTHERS = ('tome', 'tofu', 'pitome')
ANSWERED_BY = ('depth', 'merging', 'spatial', 'synthetic', 'vision', 'vlm')
DEPTHS = ('sensor', 'noisy', 'monocular')


@dataclass(frozen=True)
class Run:
    """One method on one set of questions. None: the method's own. paper: `ToSA.paper`.

    method: or the name of a baseline.
    """

    method: str
    keep: float
    depth: str = 'sensor'
    spatial: str = 'auto'
    alpha: str | float | None = None
    split: str = 'test'
    scenes: str = 'views'
    blind: bool = False
    ward: float | None = None
    heads: str | None = None
    merge_at: str | None = None
    paper: bool = False

    @property
    def baseline(self) -> baselines.Baseline | None:
        found = (one for one in baselines.at(self.keep) if one.name == self.method)
        return next(found, None)

    def merging(self) -> MergingMethod:
        if self.baseline is not None:
            return NoMerging()
        if self.paper:
            return ToSA.paper(keep=self.keep)
        chosen = {name: getattr(self, name, None) for name in settings_of(self.method)}
        given = {name: value for name, value in chosen.items() if value is not None}
        return method_from(self.method, given)


def plan() -> Iterator[Run]:
    """All runs, the most telling first."""
    yield Run('none', 1.0)
    for keep in (0.25, 0.1, 0.5, 0.75):
        yield Run('tosa', keep)
        yield from (Run(name, keep) for name in OTHERS)
        yield Run('tosa', keep, spatial='levels')
        yield Run('tosa', keep, paper=True)
    for keep in (0.25, 0.1, 0.5, 0.75):
        yield from (Run(one.name, keep) for one in baselines.at(keep))
    yield Run('none', 1.0, blind=True)
    for scenes, split in (('views', 'unseen'), ('walks', 'test'), ('views', 'val')):
        yield Run('none', 1.0, split=split, scenes=scenes)
    for keep in (0.25, 0.1):
        yield Run('tosa', keep, scenes='walks')
        yield Run('tome', keep, scenes='walks')
    for depth, keep in itertools.product(DEPTHS[1:], KEEPS):
        yield Run('tosa', keep, depth=depth)
        yield Run('tosa', keep, depth=depth, spatial='levels')
    for keep, spatial, alpha in itertools.product(
        (0.25, 0.1), ('metric', 'levels'), ALPHA_SCHEDULES
    ):
        yield Run('tosa', keep, spatial=spatial, alpha=alpha, split='val')
    for method, keep, at in itertools.product(
        ('tosa', 'tome'), (0.5, 0.25, 0.1), ('few', 'every')
    ):
        yield Run(method, keep, merge_at=at)
    for changed in ({'ward': 0.0}, {'heads': 'mean'}):
        yield from (Run('tosa', keep, split='val', **changed) for keep in (0.25, 0.1))


class Asker:
    """Answers runs, or reads the answers of those that were answered before."""

    def __init__(self, work: Path, questions: int, walks: int, pipeline: VqaPipeline) -> None:
        self.work, self.pipeline = work, pipeline
        self.sizes = {'views': questions, 'walks': walks}
        self.model = f'{model_fingerprint(embedded_model())} {_code()}'
        self.work.mkdir(parents=True, exist_ok=True)

    def benchmark(self, run: Run) -> TinyWorld:
        return self._rendered(run.split, run.scenes)

    @cache  # noqa: B019  the few sets of scenes live as long as the process
    def _rendered(self, split: str, scenes: str) -> TinyWorld:
        return TinyWorld.load(split=split, scenes=scenes, limit=self.sizes[scenes])

    @cache  # noqa: B019  a frame is changed once for all runs
    def _change(self, depth: str, blind: bool) -> Change | None:
        estimate = None
        if depth == 'monocular':
            estimate = MonocularDepth.from_pretrained(embedded_depth('metric')).replace_depth
        change = shown(depth, blind=blind, estimate=estimate)
        return change and cache(change)

    def of(self, run: Run) -> dict[str, Any]:
        """{'right': whether each question was, 'tokens', 'gflops'}."""
        described = f'{run} {run.merging()} {self.sizes[run.scenes]} {self.model}'
        path = self.work / f'{hashlib.sha256(described.encode()).hexdigest()[:16]}.json'
        if path.is_file():
            return json.loads(path.read_text())
        benchmark, methods = self.benchmark(run), {'run': run.merging()}
        asking = Asking(
            frames=None,
            max_new_tokens=benchmark.defaults.max_new_tokens,
            batch=benchmark.defaults.batch,
            change=self._change(run.depth, run.blind),
        )
        pipeline = self.pipeline
        if run.baseline is not None:
            pipeline = VqaPipeline(reducing(run.baseline), pipeline.answerer)
        with TemporaryDirectory() as place, RunFolder(Path(place), {}) as folder:
            outcome = evaluate(benchmark, pipeline, methods, folder, asking)
        records = outcome.answers['run']
        values = benchmark.score(outcome.predictions('run'))[0].values
        found = {
            'run': described,
            'right': [value == 100 for value in values.values()],
            'tokens': cost(records)['tokens_after'],
            'gflops': gigaflops(benchmark, pipeline, methods, asking)['run'],
        }
        write_text(path, json.dumps(found))
        return found


class ReducedTower:
    """A baseline in the place of the tower that merges."""

    def __init__(self, model: nn.Module, baseline: baselines.Baseline) -> None:
        self.model, self.baseline = model, baseline
        self.method, self.adapter = NoMerging(), adapter_for(model)

    def __call__(self, pixel_values: Tensor, spatial: SpatialTokens | None) -> MergedTokens:
        return self.baseline(self.model, pixel_values, spatial)


def reducing(baseline: baselines.Baseline) -> VisionEncoder:
    """The embedded model's vision half with a baseline in place of merging."""
    encoder = VisionEncoder.from_pretrained(
        embedded_model(), merging=NoMerging(), dtype=torch.float32
    )
    encoder.tower.remove()
    encoder.tower = ReducedTower(encoder.tower.model, baseline)
    return encoder


def _code() -> str:
    """Hash of everything that an answer passes through."""
    package = Path(tosa_ros.__file__).parent
    files = sorted(f for part in ANSWERED_BY for f in (package / part).glob('**/*.py'))
    files.append(package / 'evaluation' / 'conditions.py')
    files.append(Path(baselines.__file__))
    return hashlib.sha256(b''.join(file.read_bytes() for file in files)).hexdigest()[:16]
