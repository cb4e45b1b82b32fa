"""Exported towers: time against the loaded encoder, unmerged and merged, in one run.

    OMP_WAIT_POLICY=passive python -m benchmarks.exports --doc docs/performance.md

Every contender goes once in each turn. speedup: time of the eager unmerged tower divided by this
one's, median over turns; over unmerged: the same against the unmerged tower of the same runtime.
maps: share of patches whose token is not that of the eager merge.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measuring import alternate, parser, ratio, report, setup
from benchmarks.towers import NAMES, pixels, places, tower, twin
from tosa_ros.merging import MergingMethod, NoMerging, ToSA
from tosa_ros.spatial import surface_tokens
from tosa_ros.vision import merge_tokens
from tosa_ros.vlm.exported.conversion import to_onnx, to_openvino
from tosa_ros.vlm.exported.running import on_onnxruntime, on_openvino

RUNTIMES = ('eager', 'onnxruntime', 'openvino', 'openvino bf16')
UNMERGED = 'unmerged'
Key = tuple[str, str]


class Graph(nn.Module):
    """A tower that merges, as a function of pixels, points and normals."""

    def __init__(self, model: nn.Module, method: MergingMethod) -> None:
        super().__init__()
        self.tower, self._handle = model, merge_tokens(model, method)

    def forward(self, pixels: Tensor, points: Tensor, normals: Tensor) -> tuple[Tensor, ...]:
        merged = self._handle(pixel_values=pixels, spatial=surface_tokens(points, normals))
        return merged.tokens, merged.size, merged.source


def main(argv: list[str] | None = None) -> int:
    options = parser(__doc__, repeats=60)
    options.add_argument('--towers', nargs='+', choices=NAMES, default=['small', 'so400m'])
    options.add_argument('--keeps', nargs='+', type=float, default=[0.25])
    options.add_argument('--runtimes', nargs='+', choices=RUNTIMES, default=list(RUNTIMES[:3]))
    options.add_argument('--seconds', type=float, default=60, help='a tower, about')
    args = options.parse_args(argv)
    setup(args)
    rows = []
    for name in args.towers:
        print(name, file=sys.stderr, flush=True)
        rows += measure(name, args)
    report('exports', args, rows)
    return 0


def measure(name: str, args: argparse.Namespace) -> list[dict]:
    """Rows of one tower."""
    model = tower(name, 'cpu', torch.float32)
    given = {'pixels': pixels(model, 1), **places(model)}
    methods = {UNMERGED: NoMerging()} | {f'tosa {k:g}': ToSA(keep=k) for k in args.keeps}
    runs: dict[Key, Callable[[], list[Tensor]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for method, merging in methods.items():
            graph = Graph(twin(model), merging).eval()
            for runtime, run in _runs(graph, given, Path(folder) / method, args.runtimes):
                runs[runtime, method] = run
        with torch.inference_mode():
            maps = {key: run()[2].clone() for key, run in runs.items()}
        times = alternate(runs, args.repeats, 'cpu', args.seconds)
    return [
        {
            'tower': name,
            'runtime': runtime,
            'method': method,
            'ms': median(times[runtime, method]),
            'speedup': ratio(times, ('eager', UNMERGED), (runtime, method)),
            'over unmerged': ratio(times, (runtime, UNMERGED), (runtime, method)),
            'maps': float((maps[runtime, method] != maps['eager', method]).float().mean()),
        }
        for runtime, method in runs
    ]


def _runs(
    graph: Graph, given: dict[str, Tensor], stem: Path, runtimes: list[str]
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The graph in each runtime, eager first."""
    yield 'eager', lambda: graph(**given)
    with torch.no_grad():
        program = torch.export.export(graph, (), given)
        file = stem.with_suffix('.onnx')
        to_onnx(program, given).save(str(file), external_data=True)
    if 'onnxruntime' in runtimes:
        run = on_onnxruntime(file)
        yield 'onnxruntime', lambda: run(given)
    for runtime in runtimes:
        if runtime.startswith('openvino'):
            yield runtime, _openvino(file, given, 'bf16' if 'bf16' in runtime else 'f32')


def _openvino(file: Path, given: dict[str, Tensor], precision: str) -> Callable[[], Any]:
    run = on_openvino(to_openvino(file), precision)
    return lambda: run(given)


if __name__ == '__main__':
    raise SystemExit(main())
