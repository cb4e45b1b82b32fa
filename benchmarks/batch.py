"""How many questions a second: one at a time, in batches; and the memory of many requests.

    python -m benchmarks.batch --doc docs/batch.md

Whole runs of evaluation over the tiny world's walks with the embedded model. Each engine is a
process of its own with one thread, and they take turns; questions/s are of processor time, the
median over turns. same: answers that are serial's, letter by letter. `--before PATH` adds serial
of another checkout. Memory: of requests about as many frames, all of them different.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.measuring import parser, report, setup
from benchmarks.scaling import resident_mib
from tosa_ros.assets import embedded_model
from tosa_ros.frames import Frame
from tosa_ros.merging import ToSA
from tosa_ros.pipeline import VqaPipeline

HERE = Path(__file__).parents[1]
# Runs once for each line on its standard input. Also run with older checkouts of the package.
RUN = """
import json, sys, tempfile, time
from pathlib import Path
import torch
from tosa_ros.assets import embedded_model
from tosa_ros.evaluation.benchmarks.tinyworld import TinyWorld
from tosa_ros.evaluation.run_folder import RunFolder
from tosa_ros.evaluation.runner import Asking, evaluate
from tosa_ros.merging import method_from
from tosa_ros.pipeline import VqaPipeline

told = json.loads(sys.argv[1])
torch.set_num_threads(1)
walks = TinyWorld.load(split='val', scenes='walks', limit=told['questions'])
pipeline = VqaPipeline.from_pretrained(embedded_model(), dtype=getattr(torch, told['dtype']))
methods = {'m': method_from(told['method'], told['settings'])}
asking = Asking(frames=None, max_new_tokens=6, batch=told['batch'])
for _ in sys.stdin:
    pipeline._tokens.clear()  # Else only the first run would look at the frames.
    with tempfile.TemporaryDirectory() as place:
        with RunFolder(Path(place) / 'run', {}) as folder:
            wall, cpu = time.perf_counter(), time.process_time()
            outcome = evaluate(walks, pipeline, methods, folder, asking)
            took = time.perf_counter() - wall, time.process_time() - cpu
    said = outcome.predictions('m')
    print(json.dumps({'wall_s': took[0], 'cpu_s': took[1], 'said': said}), flush=True)
"""


@dataclass(frozen=True)
class Engine:
    """Who answers a run: questions at once, with the package of a checkout."""

    batch: int | str
    checkout: Path = HERE


def main(argv: list[str] | None = None) -> int:
    options = parser(__doc__, repeats=5)
    options.add_argument('--questions', type=int, default=192)
    options.add_argument('--dtypes', nargs='+', default=['bfloat16', 'float32'])
    options.add_argument('--keeps', nargs='+', type=float, default=[0.1, 0.25, 1.0])
    options.add_argument('--before', type=Path, metavar='PATH', help='an older checkout')
    options.add_argument('--requests', type=int, default=10_000, help='0 leaves memory out')
    args = options.parse_args(argv)
    setup(args)
    engines = {'serial': Engine(1), 'batched': Engine('auto')}
    if args.before:
        engines = {'before': Engine(1, args.before.resolve()), **engines}
    rows = [
        row
        for dtype in args.dtypes
        for keep in args.keeps
        for row in speed(engines, dtype, keep, args)
    ]
    extra = memory(args.requests) if args.requests else {}
    report('batch', args, rows, **extra)
    return 0


def speed(
    engines: dict[str, Engine], dtype: str, keep: float, args: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """A row for each engine."""
    print(f'{dtype}, keep {keep}', file=sys.stderr, flush=True)
    method, settings = ('none', {}) if keep == 1 else ('tosa', {'keep': keep})
    told = {'dtype': dtype, 'method': method, 'settings': settings, 'questions': args.questions}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in engines}
    with contextlib.ExitStack() as stack:
        children = {
            name: stack.enter_context(started(engine, told)) for name, engine in engines.items()
        }
        for turn in range(1 + args.repeats):
            for name, child in children.items():
                run = asked(child)
                if turn:  # The first one warms up.
                    found[name].append(run)
    said = found['serial'][0]['said']
    for name, runs in found.items():
        rates = [len(run['said']) / run['cpu_s'] for run in runs]
        ratios = [
            one['cpu_s'] / run['cpu_s']
            for one, run in zip(next(iter(found.values())), runs, strict=True)
        ]
        yield {
            'dtype': dtype,
            'keep': keep,
            'engine': name,
            'questions/s': median(rates),
            'times': f'{median(ratios):.2f}',
            'same': f'{sum(runs[0]["said"][q] == text for q, text in said.items())}/{len(said)}',
        }


@contextlib.contextmanager
def started(engine: Engine, told: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """A process that runs once for each line that it gets."""
    words = [sys.executable, '-c', RUN, json.dumps({**told, 'batch': engine.batch})]
    quiet = {'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(engine.checkout)}
    child = subprocess.Popen(
        words,
        cwd=engine.checkout,
        env={**os.environ, **quiet},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        yield child
        child.stdin.close()


def asked(child: subprocess.Popen[str]) -> dict[str, Any]:
    """What one run took and said."""
    child.stdin.write('go\n')
    child.stdin.flush()
    line = child.stdout.readline()
    if not line:
        raise SystemExit(f'an engine ended with code {child.wait()}')
    return json.loads(line)


def memory(count: int) -> dict[str, str]:
    """Resident memory after a tenth of the requests, and after all."""
    pipeline = VqaPipeline.from_pretrained(embedded_model(), merging=ToSA(keep=0.1))
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (480, 640, 3), np.uint8)

    def requests() -> Iterator[tuple[Frame, str]]:
        for number in range(count):
            yield Frame(np.roll(base, number % 640, axis=1)), 'what is in front of the wall?'

    seen: dict[str, str] = {}
    answers = pipeline.ask_many(requests(), progress=False, max_new_tokens=1)
    for number, _ in enumerate(answers, start=1):
        if number in (count // 10, count):
            gc.collect()
            seen[f'resident MiB after {number:,} requests'] = f'{resident_mib():.0f}'
    return seen


if __name__ == '__main__':
    sys.exit(main())
