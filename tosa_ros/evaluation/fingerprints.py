"""Fingerprints of runs: the questions as the model reads them, and the model itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from tosa_ros.evaluation.questions import Benchmark

SAMPLED_BYTES = 4096  # of weights, to distinguish models


_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


def fingerprint(benchmark: Benchmark, template: str | None = None) -> str:
    """Changes with any question, answer, id, order, or the way in which the model is asked."""
    described = [
        [q.id, benchmark.prompt(q, template), q.answers, q.category, q.episode]
        for q in benchmark.questions
    ]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:20]


def model_fingerprint(path_or_id: str | Path) -> str:
    """Of a checkpoint folder: its configuration and some bytes of every tensor; else the id."""
    folder = Path(path_or_id)
    if not folder.is_dir():
        return str(path_or_id)
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix == '.json':
            digest.update(file.name.encode() + file.read_bytes())
        elif file.suffix == '.safetensors':
            digest.update(f'{file.name} {file.stat().st_size}'.encode())
            for part in _sampled(file):
                digest.update(part)
    return digest.hexdigest()[:20]


def _sampled(file: Path) -> Iterator[bytes]:
    """A safetensors file's header, and the start and the middle of every tensor.

    A fine-tuned model has the header of the model that it comes from.
    """
    with file.open('rb') as weights:
        size = int.from_bytes(weights.read(8), 'little')
        header = weights.read(min(size, file.stat().st_size))
        yield header
        try:
            tensors = json.loads(header)
            spans = [tensors[name]['data_offsets'] for name in tensors if name != '__metadata__']
            for start, end in spans:
                for at in (start, (start + end) // 2):
                    weights.seek(8 + size + at)
                    yield weights.read(max(0, min(SAMPLED_BYTES, end - at)))
        except (*_DAMAGE, OSError):
            return  # damaged: loading it says so
