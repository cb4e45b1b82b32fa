"""How many times as fast vision and prefill of each family are, at 0.5B size with random weights.

    python -m benchmarks.families --speed --out families-speed.json --doc docs/models.md

One frame of 640 x 480 pixels with metric depth; bfloat16, batch 1; contenders take turns. Vision
is everything from the frame to its visual tokens, prefill everything from those to the first word.
One family is made, measured and deleted at a time; --out keeps what it has already.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks import whole_models
from benchmarks.measuring import machine, ratio, report, timed
from benchmarks.pipeline import frame
from tosa_ros.files import write_text
from tosa_ros.merging import MergingMethod, NoMerging, ToSA
from tosa_ros.vlm import Answerer, VisionEncoder, VisualTokens
from tosa_ros.vlm.untrained import write_checkpoint

Times = dict[Any, list[float]]
KEEPS = (0.25, 0.1)
QUESTION = 'How many mugs are on the desk?'


def run(args: argparse.Namespace, names: Sequence[str]) -> int:
    """Measures the families that are missing in --out, and reports all."""
    known = _known(args.out)
    for name in names:
        if name not in known:
            with tempfile.TemporaryDirectory(dir=args.scratch) as folder:
                path = write_checkpoint(
                    Path(folder) / name, family=name, size=args.size, dtype=torch.bfloat16
                )
                known[name] = measure(path, args.repeats, args.device)
            gc.collect()
            print(f'{name}: {json.dumps(known[name])}', file=sys.stderr, flush=True)
            if args.out:
                kept = {'machine': machine(), 'families': known}
                write_text(args.out, json.dumps(kept, indent=1) + '\n')
    args.out = None
    report('families-speed', args, [known[name] for name in names])
    return 0


def measure(path: Path, repeats: int, device: str = 'cpu') -> dict[str, Any]:
    """One family's row: times without merging, and how many times as fast with it."""
    title, times, tokens = _vision(path, repeats, device)
    gc.collect()
    prefill = _prefill(path, tokens, repeats, device)
    row = {
        'family': title,
        'tokens': len(tokens[1.0]),
        'vision ms': median(times[1.0]),
        'prefill ms': median(prefill[1.0]),
    }
    for road in ('tower', 'output'):
        for keep in KEEPS:
            known = (road, keep) in times
            row[f'vision, {road} {keep:g}'] = ratio(times, 1.0, (road, keep)) if known else None
    for keep in KEEPS:
        row[f'prefill {keep:g}'] = ratio(prefill, 1.0, keep)
    return row


def _vision(path: Path, repeats: int, device: str) -> tuple[str, Times, dict[float, VisualTokens]]:
    """The family's title, milliseconds, and a frame's tokens by keep."""
    encoder = VisionEncoder.from_pretrained(path, merging=NoMerging(), device=device)
    seen = frame(0)
    made: dict[Any, VisualTokens] = {}

    def encode(name: Any, method: MergingMethod) -> None:
        encoder.merging = method
        [made[name]] = encoder.encode([seen])

    methods: dict[Any, MergingMethod] = {1.0: NoMerging()}
    for road in encoder.family.roads:
        methods |= {(road, keep): ToSA(keep=keep, where=road) for keep in KEEPS}
    runs = {name: partial(encode, name, method) for name, method in methods.items()}
    times = _turns(runs, repeats, device)
    tokens = {1.0: made[1.0]} | {keep: made['output', keep] for keep in KEEPS}
    return encoder.family.title, times, tokens


def _prefill(path: Path, tokens: dict[float, VisualTokens], repeats: int, device: str) -> Times:
    answerer = Answerer.from_pretrained(path, device=device)
    runs = {
        keep: partial(whole_models.logits, answerer, [one], QUESTION)
        for keep, one in tokens.items()
    }
    return _turns(runs, repeats, device)


@torch.inference_mode()
def _turns(runs: dict[Any, Callable[[], Any]], repeats: int, device: str) -> Times:
    """Milliseconds of each run in every turn, after one that does not count."""
    times: Times = {name: [] for name in runs}
    names = list(runs)
    runs[names[-1]]()
    for turn in range(repeats):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            times[name].append(timed(runs[name], device))
    return times


def _known(out: Path | None) -> dict[str, Any]:
    """The rows that --out has already, measured on this machine."""
    if out is None or not out.is_file():
        return {}
    kept = json.loads(out.read_text())
    if kept['machine'] != machine():
        raise SystemExit(f'{out}: measured on {kept["machine"]}; this is {machine()}')
    return kept['families']
