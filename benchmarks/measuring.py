"""What every benchmark measures with: taking turns, counting arithmetic, printing tables."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from tosa_ros.devices import checked_device
from tosa_ros.errors import ModelError
from tosa_ros.files import write_text

Run = Callable[[], Any]
MIN_TURNS = 5
BRIEF_MS = 100  # A run up to this long goes twice in its turn, and the second one counts.


class Clock:
    """Wall clock, or with --cpu-time the processor time of this process."""

    now: Callable[[], float] = staticmethod(time.perf_counter)


clock = Clock()


def alternate(
    runs: Mapping[Any, Run], repeats: int, device: str = 'cpu', seconds: float = math.inf
) -> dict[Any, list[float]]:
    """Milliseconds of each run, `repeats` times, after two that do not count.

    In each turn every run goes once, each turn beginning with another one; brief ones twice, so
    that they find what they left in the caches, as a robot's tower does, which runs over and over.
    After `seconds` no turn begins, but for the first MIN_TURNS.
    """
    times: dict[Any, list[float]] = {name: [] for name in runs}
    names = list(runs)
    start_s = clock.now()
    with torch.inference_mode():
        for run in runs.values():
            run()
        brief = {name for name in names if timed(runs[name], device) < BRIEF_MS}
        for turn in range(repeats):
            if turn >= MIN_TURNS and clock.now() - start_s > seconds:
                break
            start = turn % len(names)
            for name in names[start:] + names[:start]:
                if name in brief:
                    runs[name]()
                times[name].append(timed(runs[name], device))
    return times


def timed(run: Run, device: str) -> float:
    """Milliseconds of one run."""
    wait(device)
    began = clock.now()
    run()
    wait(device)
    return 1e3 * (clock.now() - began)


def ratio(times: Mapping[Any, Sequence[float]], over: Any, under: Any) -> float:
    """Median over turns of the time of `over` divided by that of `under`."""
    return median(a / b for a, b in zip(times[over], times[under], strict=True))


def machine() -> str:
    """The processor, or GPU, threads and library versions that the figures hold for."""
    name = platform.processor() or platform.machine()
    flags = ''
    info = Path('/proc/cpuinfo')
    if info.is_file():
        lines = dict(
            line.split(':', 1) for line in info.read_text().splitlines() if line.count(':') == 1
        )
        fields = {key.strip(): value.strip() for key, value in lines.items()}
        name = fields.get('model name', name)
        flags = ' '.join(f for f in ('avx512_bf16', 'amx_bf16') if f in fields.get('flags', ''))
    gpu = f', {torch.cuda.get_device_name()}' if torch.cuda.is_available() else ''
    return (
        f'{name} ({flags or "no bfloat16 instructions"}), {torch.get_num_threads()} threads of '
        f'{os.cpu_count()} cores{gpu}, torch {torch.__version__}'
    )


def parser(doc: str, repeats: int) -> argparse.ArgumentParser:
    """Options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument('--repeats', type=int, default=repeats, help='turns')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--threads', type=int, default=0, help='of torch; 0 leaves them')
    parser.add_argument(
        '--cpu-time',
        action='store_true',
        help='processor time of one thread, for a machine that others use at the same time',
    )
    parser.add_argument('--json', action='store_true', help='print JSON instead of a table')
    parser.add_argument('--out', type=Path, help='also write the JSON to this file')
    parser.add_argument('--doc', type=Path, help='also put the table into this Markdown file')
    return parser


def setup(args: argparse.Namespace) -> None:
    """Threads, clock and seed; ends with a message where there is no such device."""
    try:
        checked_device(args.device)
    except ModelError as error:
        raise SystemExit(str(error)) from error
    if args.cpu_time:
        clock.now = time.process_time
        args.threads = 1
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)


def report(name: str, args: argparse.Namespace, rows: list[dict], **extra: Any) -> None:
    """Prints rows as --json or as a table, and writes what --out and --doc ask for.

    Beside a CPU's table, `name`, a document may have one of another device, such as `name-cuda`.
    """
    device = torch.device(args.device).type
    name = name if device == 'cpu' else f'{name}-{device}'
    where = machine() + (', processor time' if args.cpu_time else '')
    result = {'benchmark': name, 'machine': where, **extra, 'rows': rows}
    text = json.dumps(result, indent=1)
    lines = [table(rows), *(f'{key}: {value}' for key, value in extra.items())]
    printed = f'{result["machine"]}\n\n' + '\n\n'.join(lines)
    print(text if args.json else printed)
    if args.out:
        write_text(args.out, text + '\n')
    if args.doc:
        put_into(args.doc, name, printed)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table; a column for every key of any row."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ['---'] * len(columns)]
    lines += [[_cell(row.get(column)) for column in columns] for row in rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def put_into(document: Path, name: str, text: str) -> None:
    """Replaces what stands between `<!-- name -->` and `<!-- /name -->` in a document."""
    before, opening, rest = document.read_text().partition(f'<!-- {name} -->')
    _, closing, after = rest.partition(f'<!-- /{name} -->')
    if not closing:
        raise SystemExit(
            f'{document}: no place for {name}; wanted <!-- {name} --><!-- /{name} -->'
        )
    write_text(document, f'{before}{opening}\n{text}\n{closing}{after}')


def _cell(value: Any) -> str:
    if value is None:
        return ''
    if isinstance(value, float):
        return f'{value:.0f}' if abs(value) >= 100 else f'{value:.3g}'
    return str(value)


def wait(device: str) -> None:
    """Until a GPU has done what it was asked to."""
    if device.startswith('cuda'):
        torch.cuda.synchronize()
