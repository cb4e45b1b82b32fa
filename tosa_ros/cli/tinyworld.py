"""`tosa eval tinyworld`: right answers by question type, methods and keeps side by side."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from tosa_ros.cli import merging, options
from tosa_ros.errors import DataError

METHODS = ('none', 'tome', 'tofu', 'pitome', 'tosa')
QUESTIONS = 4320


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('tinyworld')
    group.add_argument('--split', default='test', help='test, unseen, val or train (test)')
    group.add_argument(
        '--limit', type=int, default=QUESTIONS, metavar='N', help=f'questions ({QUESTIONS})'
    )
    group.add_argument('--scenes', default='views', help='views, or walks of --frames (views)')
    group.add_argument(
        '--depth', default='sensor', help='sensor, noisy, monocular or none (sensor)'
    )
    group.add_argument('--blind', action='store_true', help='show black pictures instead')


def run(args: argparse.Namespace) -> int:
    from tosa_ros.evaluation import quality

    if args.data:
        raise DataError('--data: tinyworld takes none; choose with --split, --limit and --scenes')
    labelled = merging.labelled_methods(args, args.method or METHODS)
    methods = {(label.split('-')[0], m.keep): m for label, m in labelled.items()}
    pipeline = options.pipeline_from(args, next(iter(methods.values())))
    scenes = quality.scenes(
        args.split, args.limit, of=args.scenes, depth=args.depth, frames=args.frames
    )
    if args.blind:
        scenes = [quality.blinded(scene) for scene in scenes]
    questions = [question for scene in scenes for question in scene.questions]
    answered, runs = {}, []
    for (name, keep), method in methods.items():
        pipeline.merging = method
        sizes: list[int] = []
        shown = options.progress(scenes, len(scenes), f'{name} {keep:g}')
        answered[name, keep] = quality.answers(pipeline, shown, sizes.append)
        runs.append(
            {
                'method': name,
                'keep': keep,
                'tokens': sum(sizes) / len(sizes),
                'gflops': quality.gigaflops(pipeline, scenes[0]),
                **quality.summary(answered[name, keep], questions),
            }
        )
    told = ('split', 'scenes', 'depth', 'blind', 'alpha', 'spatial', 'merge_at')
    settings = {name: getattr(args, name) for name in told}
    report = {'settings': settings, 'runs': runs, 'pairs': list(_pairs(answered))}
    if args.json:
        options.print_json(report)
    else:
        _print(report)
    return 0


def _pairs(answered: dict[tuple[str, float], list[bool]]) -> Any:
    """ToSA against every other method at its keep, and against none."""
    from tosa_ros.evaluation.quality import compared

    for (name, keep), right in answered.items():
        for (other, its_keep), its in answered.items():
            if name == 'tosa' != other and its_keep in (keep, 1.0):
                pair = compared(right, its)
                yield {
                    'first': name,
                    'second': other,
                    'keep': keep,
                    'only_first': pair.only_first,
                    'only_second': pair.only_second,
                    'p': pair.p,
                }


def _print(report: dict[str, Any]) -> None:
    runs = report['runs']
    heads = [
        r['method'] if r['method'] == 'none' else f'{r["method"]} {r["keep"]:g}' for r in runs
    ]
    print(f'{"type":12} {"n":>5} {"guess":>6} ' + ' '.join(f'{h:>18}' for h in heads))
    for kind in [*runs[0]['by_type'], 'all']:
        rows = [r if kind == 'all' else r['by_type'][kind] for r in runs]
        cells = [
            f'{100 * r["accuracy"]:6.1f} ({100 * r["interval_95"][0]:.1f}-'
            f'{100 * r["interval_95"][1]:.1f})'
            for r in rows
        ]
        print(
            f'{kind:12} {rows[0]["n"]:5} {100 * rows[0]["baseline"]:6.1f} '
            + ' '.join(f'{c:>18}' for c in cells)
        )
    print(f'{"tokens":25} ' + ' '.join(f'{r["tokens"]:18.0f}' for r in runs))
    print(f'{"GFLOPs":25} ' + ' '.join(f'{r["gflops"]:18.3f}' for r in runs))
    for p in report['pairs']:
        print(
            f'{p["first"]} {p["keep"]:g} against {p["second"]}: {p["only_first"]} right only by '
            f'the first, {p["only_second"]} only by the second, p = {p["p"]:.2g}',
            file=sys.stderr,
        )
