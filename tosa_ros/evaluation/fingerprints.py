"""Fingerprints of runs: the questions as the model reads them."""

from __future__ import annotations

import hashlib
import json

from tosa_ros.evaluation.questions import Benchmark


def fingerprint(benchmark: Benchmark, template: str | None = None) -> str:
    """Changes with any question, answer, id, order, or the way in which the model is asked."""
    described = [
        [q.id, benchmark.prompt(q, template), q.answers, q.category, q.episode]
        for q in benchmark.questions
    ]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:20]
