"""`tosa compare`: runs side by side, with paired significance."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from tosa_ros.cli import options

PER_QUESTION = ('values', 'weights', 'episodes')
EPILOG = """example:
  tosa compare runs/kitchen runs/live --metric 'Token F1'"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'compare', help='show evaluation runs side by side', epilog=EPILOG
    )
    parser.add_argument('runs', nargs='+', type=Path, metavar='RUN', help="a run's folder")
    parser.add_argument(
        '--metric', metavar='NAME', help="metric to compare; default: the first run's main metric"
    )
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from tosa_ros.evaluation.compare import differences, load_entries
    from tosa_ros.evaluation.metrics.score import units
    from tosa_ros.evaluation.report import markdown_table

    entries = load_entries(args.runs, args.metric)
    against = {one.label: one for one in differences(entries)}
    if args.json:
        shown = [
            {k: v for k, v in asdict(entry).items() if k not in PER_QUESTION}
            | {'over': units(entry.episodes)}
            for entry in entries
        ]
        gaps = [asdict(one) for one in against.values()]
        options.print_json({'entries': shown, 'differences': gaps})
        return 0
    rows = []
    for entry in entries:
        tokens = '-' if entry.tokens is None else f'{entry.tokens:.0f}'
        row = [entry.label, tokens, f'{entry.overall:.1f}', _range(entry.interval)]
        gap = against.get(entry.label)
        row += (
            [f'{gap.points:+.1f}', _range(gap.interval), f'{gap.p:.4f}'] if gap else ['', '', '']
        )
        rows.append(row)
    head = ['method', 'tokens', entries[0].metric, '95 %', 'difference', '95 %', 'p']
    print('\n'.join(markdown_table((head, rows))))
    print(f'\nintervals and p over {units(entries[0].episodes)}')
    return 0


def _range(interval: tuple[float, float]) -> str:
    return f'{interval[0]:.1f} to {interval[1]:.1f}'
