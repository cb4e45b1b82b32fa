"""A soak: memory of each node and rate of tokens over minutes, written down as they come."""

from __future__ import annotations

import argparse
import json
import time
from statistics import linear_regression
from typing import Any

from benchmarks.measuring import machine
from benchmarks.ros.graphs import Pids, progress, resident_mib
from benchmarks.ros.listening import Listener
from tosa_ros.files import write_text

PERIOD_S = 12.0  # five questions a minute
WARM_S = 120.0  # Into a soak, all memory that the work needs has been asked for.
FLAT = 1.0  # percent


def soak(args: argparse.Namespace, pids: Pids) -> list[dict[str, Any]]:
    """Five questions a minute; a row for each node, and one for the tokens.

    After each question --out has all that was seen until then, and the rows of that.
    """
    seen: list[dict[str, Any]] = []
    listener = Listener()
    rows: list[dict[str, Any]] = []
    try:
        listener.warm()
        start = time.monotonic()
        while time.monotonic() - start < 60 * args.soak:
            began = time.monotonic()
            _, answer_s = listener.timed()
            listener.spin(began + PERIOD_S)
            shown, made = listener.counts()
            listener.forget()
            now = time.monotonic()
            seen.append(
                {
                    's': round(now - start, 1),
                    'shown_hz': round(shown / (now - began), 2),
                    'tokens_hz': round(made / (now - began), 2),
                    'answer_ms': round(1e3 * answer_s, 1),
                    'mib': {name: round(resident_mib(pid), 2) for name, pid in pids.items()},
                }
            )
            rows = soak_rows(seen)
            progress(f'soak {json.dumps(seen[-1])}')
            if args.out:
                result = {'benchmark': 'ros-soak', 'machine': machine(), 'size': args.size}
                result |= {'rate': args.rate, 'rows': rows, 'seen': seen}
                write_text(args.out, json.dumps(result, indent=1) + '\n')
    finally:
        listener.close()
    return rows


def soak_rows(seen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Begin, end and slope of what was seen after warming up, by least squares.

    change %: of the line's end against its beginning. flat: whether that is within FLAT.
    """
    settled = [one for one in seen if one['s'] >= WARM_S] or seen
    series = {f'{name}, MiB': [one['mib'][name] for one in settled] for name in seen[0]['mib']}
    series |= {'tokens, Hz': [one['tokens_hz'] for one in settled]}
    series |= {'question to last word, ms': [one['answer_ms'] for one in settled]}
    return [_row(name, values, [one['s'] for one in settled]) for name, values in series.items()]


def _row(name: str, values: list[float], seconds: list[float]) -> dict[str, Any]:
    row = {'what': name, 'questions': len(values), 'least': min(values), 'most': max(values)}
    if len(values) < 2:
        return row
    slope, start = linear_regression(seconds, values)
    begin, end = (start + slope * second for second in (seconds[0], seconds[-1]))
    change = 100 * (end / begin - 1)
    row |= {'begin': round(begin, 2), 'end': round(end, 2), 'change %': round(change, 2)}
    return row | ({'flat': 'yes' if abs(change) <= FLAT else 'no'} if 'MiB' in name else {})
