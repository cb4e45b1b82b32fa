"""The vision tower alone: merged against unmerged, compiled, and the papers' ways.

    python -m benchmarks.vision --towers small vit-b --dtypes float32 bfloat16 --keeps 0.25

speedup: unmerged time / this time, median over turns. bound: what it would be if time were
arithmetic, FLOPs(unmerged) / FLOPs(this). overhead: time beyond a tower whose tokens are cut off
instead of merged, as a share of that tower's time. Contenders that merge in the same layers take
turns.
"""

from __future__ import annotations

import argparse
import sys
from statistics import median
from typing import Any

import torch
from torch import nn

from benchmarks.baselines import cut, plain_tome, published_tosa
from benchmarks.measuring import Run, alternate, parser, ratio, report, setup
from benchmarks.towers import NAMES, pixels, spatial, tower, twin
from tosa_ros.evaluation.flops import flops
from tosa_ros.merging import METHODS as MERGING
from tosa_ros.merging import ToMe, ToSA, method_from
from tosa_ros.settings.merging import MERGE_AT, default
from tosa_ros.vision import merge_tokens

UNMERGED = 'unmerged'
COMPILED = ', compiled'
# What takes turns with the unmerged tower: what merges in the same layers, and first of each what
# removes as many tokens there for nothing.
GROUPS = (
    ('cut', 'tome', 'tosa'),
    ('cut-few', 'tome-few', 'tosa-few'),
    ('cut-every', 'plain-tome', 'published-tosa', 'tome-every', 'tosa-every'),
)
METHODS = tuple(method for group in GROUPS for method in group)
Runs = dict[tuple[str, float], Run]


def main(argv: list[str] | None = None) -> int:
    options = parser(__doc__, repeats=100)
    options.add_argument('--towers', nargs='+', choices=NAMES, default=list(NAMES))
    options.add_argument('--dtypes', nargs='+', default=['float32', 'bfloat16'])
    options.add_argument('--keeps', nargs='+', type=float, default=[0.1, 0.25, 0.5])
    options.add_argument('--batch', type=int, default=1)
    options.add_argument('--methods', nargs='+', choices=METHODS, default=list(METHODS))
    options.add_argument(
        '--compile', action='store_true', help='also compiled, which takes minutes'
    )
    options.add_argument('--seconds', type=float, default=60, help='a tower and type, about')
    args = options.parse_args(argv)
    setup(args)
    rows = []
    for name in args.towers:
        for dtype in args.dtypes:
            print(f'{name} {dtype}', file=sys.stderr, flush=True)
            rows += measure(name, dtype, args)
    kind = '-compiled' if args.compile else f'-batch-{args.batch}' if args.batch > 1 else ''
    report(f'vision{kind}', args, rows)
    return 0


def measure(name: str, dtype: str, args: argparse.Namespace) -> list[dict]:
    """Rows of one tower in one type."""
    model = tower(name, args.device, getattr(torch, dtype))
    image = pixels(model, args.batch)
    places = spatial(model, args.batch)

    def contender(method: str, keep: float) -> Run:
        return merged(twin(model), method, keep, image, places)

    def row(key: tuple[str, float], ms: float, **figures: float | None) -> dict:
        facts = {'tower': name, 'method': key[0], 'keep': key[1], 'dtype': dtype}
        return {**facts, 'batch': args.batch, 'ms': ms, **figures}

    def alone() -> Any:
        return model(pixel_values=image)

    groups: list[Runs] = [
        {(method, keep): contender(method, keep) for method in group if method in args.methods}
        for keep in args.keeps
        for group in GROUPS
    ]
    if args.compile:
        groups.append(compiled(model, args, image, places))
    groups = [group for group in groups if group]
    full, unmerged, rows = flops(alone), [], []
    for group in groups:
        runs = {(UNMERGED, 1.0): alone} | group
        times = alternate(runs, args.repeats, args.device, args.seconds / len(groups))
        unmerged += times[UNMERGED, 1.0]
        free = next((key for key in group if key[0].startswith('cut')), None)
        for key in group:
            method = key[0].removesuffix(COMPILED)
            work = full if method == UNMERGED else flops(contender(method, key[1]))
            speedup = ratio(times, (UNMERGED, 1.0), key)
            overhead = ratio(times, key, free) - 1 if free else None
            figures = {'speedup': speedup, 'bound': full / work, 'overhead': overhead}
            rows.append(row(key, median(times[key]), **figures))
    return [row((UNMERGED, 1.0), median(unmerged), speedup=1.0, bound=1.0), *rows]


def merged(model: nn.Module, method: str, keep: float, image: Any, places: Any) -> Run:
    """One call of the tower with this way of merging put into it."""
    way, at = method, default('merge_at')
    for name in MERGE_AT:
        if method.endswith(f'-{name}'):
            way, at = method.removesuffix(f'-{name}'), name
    settings = {'keep': keep, 'merge_at': at}
    if way in MERGING:
        handle = merge_tokens(model, method_from(way, settings))
        return lambda: handle(pixel_values=image, spatial=places)
    if way == 'cut':
        cut(model, ToMe(**settings))
    elif way == 'plain-tome':
        plain_tome(model, keep)
    else:
        published_tosa(model, keep, spatial(model, len(image), 'levels'))
    return lambda: model(pixel_values=image)


def compiled(model: nn.Module, args: argparse.Namespace, image: Any, places: Any) -> Runs:
    """Unmerged and ToSA under torch.compile, without graph breaks; with CUDA graphs on a GPU."""
    mode = 'reduce-overhead' if args.device.startswith('cuda') else None
    # Every handle is its own graph: more of them than the compiler expects of one model.
    torch._dynamo.config.recompile_limit = 64
    alone = torch.compile(twin(model), mode=mode, fullgraph=True)
    runs = {(UNMERGED + COMPILED, 1.0): lambda: alone(pixel_values=image)}
    for keep in args.keeps:
        handle = merge_tokens(twin(model), ToSA(keep=keep))
        handle.model = torch.compile(handle.model, mode=mode, fullgraph=True)
        runs['tosa' + COMPILED, keep] = lambda handle=handle: handle(
            pixel_values=image, spatial=places
        )
    return runs


if __name__ == '__main__':
    sys.exit(main())
