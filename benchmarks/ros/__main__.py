"""What ROS costs: latencies, frames, processor time and memory of the graph, beside direct calls.

    python -m benchmarks.ros --size 640x480 --rate 30 --doc docs/ros.md
    python -m benchmarks.ros --size 640x480 --soak 15 --out soak.json --doc docs/ros.md

Starts a camera and the nodes as processes, as `tosa up` does, and measures from outside. Each side
is a graph, or, with `ros`, processes that pass the graph's messages and compute nothing. Graph and
direct calls, which do the same work in two processes without ROS, take turns. CPU is that of the
nodes, in percent of one core.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import re
import sys
from pathlib import Path
from typing import Any

import rclpy

from benchmarks.measuring import report
from benchmarks.ros.direct import direct
from benchmarks.ros.graphs import SIDES, progress, running
from benchmarks.ros.listening import WHAT, Seen, listen, percentiles
from benchmarks.ros.soak import soak
from tosa_ros.errors import TosaError
from tosa_ros.ros.bringup import quiet_threads
from tosa_ros.ros.fastdds import profile_environment

ROUNDS = 4
DIRECT = ('depth', 'colour')  # sides that are compared with direct calls


def main(argv: list[str] | None = None) -> int:
    args = _arguments(argv)
    os.environ.update({**profile_environment('benchmark'), **quiet_threads()})
    rclpy.init()
    try:
        if args.soak:
            with running('one' if args.only == ['one'] else 'depth', args) as pids:
                rows = soak(args, pids)
            # What comes in the course of a soak is in its file already.
            args.out = None
            report('ros-soak', args, rows)
            return 0 if all(row.get('flat', 'yes') == 'yes' for row in rows) else 1
        rows = [row for side in args.only for row in measured(side, args)]
    except TosaError as error:
        print(f'benchmarks.ros: {error}', file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()
    report(f'ros-{args.size}', args, rows, **alone(rows))
    return 0


def measured(side: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of one of SIDES: one for each of WHAT that it has."""
    asks, seen = side != 'ros', Seen()
    without: dict[str, list[float]] = {name: [] for name in WHAT}
    with contextlib.ExitStack() as stack:
        calls = stack.enter_context(direct(side == 'depth', args)) if side in DIRECT else None
        pids = stack.enter_context(running(side, args))
        for number in range(ROUNDS):
            progress(f'{SIDES[side]}: round {number + 1} of {ROUNDS}')
            listen(args.seconds / ROUNDS, seen, pids, asks)
            for name, times in (calls(args.seconds / ROUNDS) if calls else {}).items():
                without[name] += times
    rows = [
        {'side': SIDES[side], 'what': WHAT[name], **_columns(times, without[name])}
        for name, times in seen.times.items()
        if times
    ]
    rows[0] |= {'frames': f'{seen.made} of {seen.shown}'}
    if pids:
        rows[0] |= {'CPU %': f'{100 * seen.cpu_s / seen.seconds:.0f}'}
    return rows


def _columns(times: list[float], without: list[float]) -> dict[str, str]:
    p50, p95 = percentiles(times)
    row = {'p50 ms': f'{p50:.1f}', 'p95 ms': f'{p95:.1f}'}
    if without:
        p50, p95 = percentiles(without)
        row |= {'direct p50': f'{p50:.1f}', 'direct p95': f'{p95:.1f}'}
    return row


def alone(rows: list[dict[str, Any]]) -> dict[str, str]:
    """What ROS adds to the tokens' age, by each way to see it, in words."""
    said = {}
    for row in rows:
        if row['what'] == WHAT['tokens'] and 'direct p95' in row:
            parts = (float(row[f'p{n} ms']) - float(row[f'direct p{n}']) for n in (50, 95))
            said[f'ROS adds, {row["side"]}'] = '{:.1f} ms p50, {:.1f} ms p95'.format(*parts)
    return said


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', help='the embedded one if not given')
    parser.add_argument('--keep', type=float, default=0.25)
    parser.add_argument('--size', type=_size, default='640x480', metavar='WIDTHxHEIGHT')
    parser.add_argument('--rate', type=_positive, default=30.0, help='of the camera, hertz')
    parser.add_argument('--seconds', type=_positive, default=40.0, help='of each side')
    parser.add_argument(
        '--only',
        nargs='+',
        choices=SIDES,
        default=list(SIDES),
        help='sides: ' + '; '.join(f'{name}: {words}' for name, words in SIDES.items()),
    )
    parser.add_argument(
        '--soak',
        type=_positive,
        metavar='MINUTES',
        help='measure memory and rates instead; ends with 1 where memory is not flat',
    )
    parser.add_argument('--json', action='store_true', help='print JSON instead of a table')
    parser.add_argument('--out', type=Path, help='also write the JSON to this file')
    parser.add_argument('--doc', type=Path, help='also put the table into this Markdown file')
    parser.set_defaults(device='cpu', cpu_time=False)
    return parser.parse_args(argv)


def _size(text: str) -> str:
    if not re.fullmatch(r'[1-9]\d{1,4}x[1-9]\d{1,4}', text):
        raise argparse.ArgumentTypeError(f'{text!r}; wanted pixels, such as 640x480')
    return text


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f'{text}; wanted a number above 0')
    return value


if __name__ == '__main__':
    sys.exit(main())
