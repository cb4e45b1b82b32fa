"""Readers: one module a benchmark, each behind `evaluation.questions.Benchmark`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from tosa_ros.errors import DataError
from tosa_ros.evaluation.questions import Benchmark
from tosa_ros.registry import Registry

HERE = 'tosa_ros.evaluation.benchmarks'
BENCHMARKS: Registry[type[Benchmark]] = Registry(
    'benchmark',
    'tosa_ros.benchmarks',
    {
        'openeqa': f'{HERE}.openeqa:OpenEQA',
        'vsibench': f'{HERE}.vsibench:VSIBench',
        'sqa3d': f'{HERE}.sqa3d:SQA3D',
        'scanqa': f'{HERE}.scanqa:ScanQA',
        'gqa': f'{HERE}.gqa:GQA',
        'vqav2': f'{HERE}.vqav2:VQAv2',
        'vqav2-counting': f'{HERE}.vqav2:VQAv2Counting',
        'tinyworld': f'{HERE}.tinyworld:TinyWorld',
        'jsonl': f'{HERE}.jsonl:Jsonl',
    },
    base='tosa_ros.evaluation.questions:Benchmark',
    error=DataError,
)

__all__ = ['BENCHMARKS', 'load_benchmark']


def load_benchmark(name: str, data: str | Path | None = None, **options: Any) -> Benchmark:
    """Reads a benchmark's questions.

    data: the question file, of a benchmark that has one. options: what its `load` takes; None
        means the benchmark's own default.

    Raises:
        DataError: no such benchmark, an option that it does not have, or a file that is
            missing or malformed.
    """
    load = BENCHMARKS[name].load
    given = {key: value for key, value in options.items() if value is not None}
    if data is not None:
        given['data'] = Path(data)
    unknown = given.keys() - inspect.signature(load).parameters.keys()
    if unknown:
        raise DataError(f'{name} has no option {min(unknown)!r}')
    return load(**given)
