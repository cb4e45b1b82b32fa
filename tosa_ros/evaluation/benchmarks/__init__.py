"""Readers: one module a benchmark, each behind `evaluation.questions.Benchmark`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from tosa_ros.errors import DataError
from tosa_ros.evaluation.benchmarks.gqa import GQA
from tosa_ros.evaluation.benchmarks.jsonl import Jsonl
from tosa_ros.evaluation.benchmarks.openeqa import OpenEQA
from tosa_ros.evaluation.benchmarks.scanqa import ScanQA
from tosa_ros.evaluation.benchmarks.sqa3d import SQA3D
from tosa_ros.evaluation.benchmarks.tinyworld import TinyWorld, TinyWorldViews
from tosa_ros.evaluation.benchmarks.vqav2 import VQAv2, VQAv2Counting
from tosa_ros.evaluation.benchmarks.vsibench import VSIBench
from tosa_ros.evaluation.questions import Benchmark

BENCHMARKS: dict[str, type[Benchmark]] = {
    cls.name: cls
    for cls in (
        OpenEQA,
        VSIBench,
        SQA3D,
        ScanQA,
        GQA,
        VQAv2,
        VQAv2Counting,
        TinyWorld,
        TinyWorldViews,
        Jsonl,
    )
}

__all__ = [
    'BENCHMARKS',
    'GQA',
    'SQA3D',
    'Jsonl',
    'OpenEQA',
    'ScanQA',
    'TinyWorld',
    'TinyWorldViews',
    'VQAv2',
    'VQAv2Counting',
    'VSIBench',
    'load_benchmark',
]


def load_benchmark(name: str, data: str | Path, **options: Any) -> Benchmark:
    """Reads a benchmark's files.

    options: annotations, frames_root (paths) and depth_scale, where the benchmark has them.
        None means the benchmark's own default.

    Raises:
        DataError: no such benchmark, an option that it does not have, or a file that is
            missing or malformed.
    """
    if name not in BENCHMARKS:
        raise DataError(f'benchmark {name!r}; wanted one of {", ".join(BENCHMARKS)}')
    load = BENCHMARKS[name].load
    given = {key: value for key, value in options.items() if value is not None}
    unknown = given.keys() - inspect.signature(load).parameters.keys()
    if unknown:
        raise DataError(f'{name} has no option {min(unknown)!r}')
    return load(Path(data), **given)
