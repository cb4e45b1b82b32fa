"""Right answers against tokens and arithmetic: every method, on the tiny world.

    python -m benchmarks.quality --work DIR --docs docs

Answers are kept in DIR, one file for each run, and are not asked again while model and code are
the same: a stopped run goes on with the same command. ToSA's variants other than the default are
asked on the split `val`, on which choices are made; all other figures are of the split `test`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.measuring import machine, put_into, table
from benchmarks.real import baselines
from benchmarks.tinyworld import DEPTHS, KEEPS, OTHERS, Asker, Run, plan
from tosa_ros.assets import embedded_model
from tosa_ros.evaluation.benchmarks.tinyworld import TinyWorld
from tosa_ros.files import whole_file
from tosa_ros.pipeline import VqaPipeline
from tosa_ros.settings.merging import ALPHA_SCHEDULES, SETTINGS
from tosa_ros.stats import mcnemar, wilson

LABELS = {'none': 'none', 'tome': 'ToMe', 'tofu': 'ToFu', 'pitome': 'PiToMe', 'tosa': 'ToSA'}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--work', type=Path, default=Path('out/quality'), help='answers so far')
    parser.add_argument('--docs', type=Path, help='put tables and plots into this folder')
    parser.add_argument('--questions', type=int, default=8640, help='about views')
    parser.add_argument('--walks', type=int, default=1920, help='questions about walks')
    parser.add_argument('--json', action='store_true', help='print every run')
    parser.add_argument('--reverse', action='store_true', help='from the last, as a second worker')
    args = parser.parse_args()
    torch.set_num_threads(1)
    pipeline = VqaPipeline.from_pretrained(embedded_model(), dtype=torch.float32)
    asker = Asker(args.work, args.questions, args.walks, pipeline)
    runs = list(plan())
    for number, run in enumerate(reversed(runs) if args.reverse else runs, 1):
        right = asker.of(run)['right']
        print(f'{number}/{len(runs)} {run} {sum(right) / len(right):.4f}', file=sys.stderr)
    if args.json:
        print(json.dumps({'machine': machine(), 'runs': [described(asker, r) for r in runs]}))
    if args.docs:
        document = args.docs / 'quality.md'
        for name, rows in tables(asker).items():
            put_into(document, name, table(rows))
        put_into(document, 'setting', setting(asker))
        plots(asker, args.docs)
    return 0


def described(asker: Asker, run: Run) -> dict[str, Any]:
    found = asker.of(run)
    counts = summary(found['right'], asker.benchmark(run))
    return vars(run) | {'tokens': found['tokens'], 'gflops': found['gflops']} | counts


def summary(right: Sequence[bool], benchmark: TinyWorld) -> dict[str, Any]:
    """Accuracy with its 95 % interval, over all questions and by type, guessing beside it."""
    guessing = benchmark.guessing()

    def part(kind: str, hits: list[bool]) -> dict[str, Any]:
        low, high = wilson(sum(hits), len(hits))
        return {
            'accuracy': sum(hits) / len(hits),
            'interval_95': [low, high],
            'n': len(hits),
            'baseline': guessing[kind] / 100,
        }

    by_type: dict[str, list[bool]] = {}
    for question, hit in zip(benchmark.questions, right, strict=True):
        by_type.setdefault(question.category, []).append(hit)
    parts = {kind: part(kind, hits) for kind, hits in by_type.items()}
    return part('all', list(right)) | {'by_type': parts}


def setting(asker: Asker) -> str:
    views = [Run('none', 1.0, split=split) for split in ('test', 'unseen', 'val')]
    counts = ', '.join(
        f'{len(asker.benchmark(run).questions):,} of `{run.split}`' for run in views
    )
    walks = len(asker.benchmark(Run('none', 1.0, scenes='walks')).questions)
    return (
        f'Questions about views: {counts}; about walks of eight frames: {walks:,} of `test`. '
        f'float32, {machine()}.'
    )


def tables(asker: Asker) -> dict[str, list[dict[str, Any]]]:
    """Rows of every table in docs/quality.md, by the table's name there."""
    return {
        'by-type': by_type(asker),
        'by-method': by_method(asker),
        'by-depth': by_depth(asker),
        'by-alpha': by_alpha(asker),
        'by-merges': by_merges(asker),
        'lost': lost(asker),
        'walks': walks(asker),
    }


def by_type(asker: Asker) -> list[dict[str, Any]]:
    sets = {
        'test': Run('none', 1.0),
        'blind': Run('none', 1.0, blind=True),
        'unseen': Run('none', 1.0, split='unseen'),
    }
    found = {name: described(asker, run) for name, run in sets.items()}
    rows = []
    for kind in [*found['test']['by_type'], 'all']:
        row: dict[str, Any] = {'type': kind}
        for name, result in found.items():
            part = result if kind == 'all' else result['by_type'].get(kind)
            if part is None:
                continue
            if name == 'test':
                row |= {'questions': part['n'], 'guessing': percent(part['baseline'])}
            row[name] = share(part)
        rows.append(row)
    return rows


def by_method(asker: Asker) -> list[dict[str, Any]]:
    none = asker.of(Run('none', 1.0))
    rows = [method_row(asker, Run('none', 1.0), None, none)]
    for keep in KEEPS:
        ours = asker.of(Run('tosa', keep))
        for run in (
            Run('tosa', keep),
            Run('tosa', keep, spatial='levels'),
            Run('tosa', keep, paper=True),
            *(Run(name, keep) for name in OTHERS),
            *(Run(one.name, keep) for one in baselines.at(keep)),
        ):
            rows.append(method_row(asker, run, ours, none))
    return rows


def method_row(asker: Asker, run: Run, ours: dict | None, none: dict) -> dict[str, Any]:
    found = asker.of(run)
    row = {
        'keep': run.keep,
        'method': label(run),
        'tokens': round(found['tokens']),
        'GFLOPs': round(found['gflops'], 2),
        'right': share(described(asker, run)),
        'lost': percent((sum(none['right']) - sum(found['right'])) / len(none['right'])),
    }
    if ours is not None and found is not ours and found['run'] != ours['run']:
        pairs = list(zip(ours['right'], found['right'], strict=True))
        only = pairs.count((True, False)), pairs.count((False, True))
        row['ToSA against it'] = '+{} -{}, p = {:.2g}'.format(*only, mcnemar(*only))
    return row


def by_depth(asker: Asker) -> list[dict[str, Any]]:
    return [
        {'depth': depth, 'spatial': spatial}
        | {
            f'keep {keep:g}': share(described(asker, Run('tosa', keep, depth, spatial)))
            for keep in KEEPS
        }
        for depth, spatial in itertools.product(DEPTHS, ('auto', 'levels'))
    ]


def by_alpha(asker: Asker) -> list[dict[str, Any]]:
    rows = []
    for spatial, alpha in itertools.product(('metric', 'levels'), ALPHA_SCHEDULES):
        row = {'spatial': spatial, 'alpha': alpha}
        rows.append(row | _on_val(asker, 'tosa', spatial=spatial, alpha=alpha))
    rows.append({'spatial': 'metric, ward=0'} | _on_val(asker, 'tosa', ward=0.0))
    rows.append({'spatial': 'metric, heads=mean'} | _on_val(asker, 'tosa', heads='mean'))
    rows.append({'spatial': 'ToMe'} | _on_val(asker, 'tome'))
    return rows


def by_merges(asker: Asker) -> list[dict[str, Any]]:
    rows = []
    for keep, at in itertools.product((0.5, 0.25, 0.1), ('few', None, 'every')):
        found = {m: described(asker, Run(m, keep, merge_at=at)) for m in ('tosa', 'tome')}
        rows.append(
            {
                'keep': keep,
                'merge_at': at or SETTINGS['merge_at'].default,
                'GFLOPs': f'{found["tosa"]["gflops"]:.2f}',
            }
            | {LABELS[method]: share(one) for method, one in found.items()}
        )
    return rows


def _on_val(asker: Asker, method: str, **settings: Any) -> dict[str, str]:
    runs = {keep: Run(method, keep, split='val', **settings) for keep in (0.25, 0.1)}
    return {f'keep {keep:g}': share(described(asker, run)) for keep, run in runs.items()}


def lost(asker: Asker) -> list[dict[str, Any]]:
    runs = {'none': Run('none', 1.0)}
    for keep in (0.25, 0.1):
        runs |= {f'{LABELS[m]} {keep:g}': Run(m, keep) for m in (*OTHERS, 'tosa')}
    found = {name: described(asker, run) for name, run in runs.items()}
    return [
        {'type': kind}
        | {name: percent(f['by_type'][kind]['accuracy']) for name, f in found.items()}
        for kind in found['none']['by_type']
    ]


def walks(asker: Asker) -> list[dict[str, Any]]:
    runs = {'none': Run('none', 1.0, scenes='walks')}
    for keep in (0.25, 0.1):
        runs |= {f'{LABELS[m]} {keep:g}': Run(m, keep, scenes='walks') for m in ('tome', 'tosa')}
    found = {name: described(asker, run) for name, run in runs.items()}
    rows = []
    for kind in [*found['none']['by_type'], 'all']:
        parts = {n: f if kind == 'all' else f['by_type'][kind] for n, f in found.items()}
        row = {'type': kind, 'questions': parts['none']['n']}
        row['guessing'] = percent(parts['none']['baseline'])
        rows.append(row | {name: percent(part['accuracy']) for name, part in parts.items()})
    return rows


def label(run: Run) -> str:
    if run.paper:
        return "ToSA, the paper's"
    return LABELS.get(run.method, run.method) + (
        f', {run.spatial}' if run.spatial != 'auto' else ''
    )


def percent(value: float) -> str:
    return f'{100 * value:.1f}'


def share(part: dict[str, Any]) -> str:
    low, high = part['interval_95']
    return f'{percent(part["accuracy"])} ({percent(low)}-{percent(high)})'


def plots(asker: Asker, folder: Path) -> None:
    """quality-keep.png and quality-gflops.png: right answers against both."""
    none = described(asker, Run('none', 1.0))
    lines: dict[str, Sequence[dict[str, Any]]] = {}
    for name, spatial in (*((n, 'auto') for n in OTHERS), ('tosa', 'levels'), ('tosa', 'auto')):
        runs = [Run(name, keep, spatial=spatial) for keep in KEEPS]
        lines[label(runs[0])] = [none, *(described(asker, run) for run in runs)]
    for axis, words in (
        ('keep', 'tokens kept'),
        ('gflops', 'operations of one question (10^9)'),
    ):
        _plot(lines, axis, words, folder / f'quality-{axis}.png')


def _plot(lines: dict[str, Sequence[dict[str, Any]]], axis: str, words: str, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), dpi=120, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, points in lines.items():
        points = sorted(points, key=lambda point: point[axis])
        axes.plot(
            [point[axis] for point in points],
            [100 * point['accuracy'] for point in points],
            marker='o',
            label=name,
            linewidth=2.5 if name == 'ToSA' else 1.2,
        )
    low, high = (100 * x for x in next(iter(lines.values()))[0]['interval_95'])
    axes.axhspan(low, high, color='0.9', label='nothing merged, 95 %')
    axes.set(xlabel=words, ylabel='right answers (percent)')
    axes.grid(alpha=0.3)
    axes.legend()
    with whole_file(path) as partial:
        figure.savefig(partial)


if __name__ == '__main__':
    raise SystemExit(main())
