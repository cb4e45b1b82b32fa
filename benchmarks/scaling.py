"""How cost grows with what is looked at: resolution, and number of frames.

    python -m benchmarks.scaling --resolutions 224 384 768 --frames 1 8 32

Resolution: a tower alone at batch 1. Frames: the tower over all frames, then a language model
(Qwen2-0.5B's shape) reading their tokens. tokens counts patches before merging. The exponent p is
the slope of log(time) over log(tokens): cost grows as tokens^p. peak_mib: memory, weights aside.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks.measuring import alternate, parser, report, setup
from benchmarks.towers import DIMENSIONS, pixels, spatial, tower, twin
from tosa_ros.merging import ToSA
from tosa_ros.vision import merge_tokens
from tosa_ros.vlm.untrained import SIZES
from tosa_ros.vlm.vision_encoder import BATCH_FRAMES

LANGUAGE = {**SIZES['0.5b'].text, 'vocab_size': 1024}


def main(argv: list[str] | None = None) -> int:
    options = parser(__doc__, repeats=3)
    options.add_argument('--tower', choices=list(DIMENSIONS), default='vit-b')
    options.add_argument('--dtype', default='bfloat16')
    options.add_argument('--keep', type=float, default=0.1)
    options.add_argument('--resolutions', nargs='*', type=int, default=[224, 320, 448, 608, 768])
    options.add_argument('--frames', nargs='*', type=int, default=[1, 2, 4, 8, 16, 32])
    args = options.parse_args(argv)
    setup(args)
    rows = [row for size in args.resolutions for row in resolution(size, args)]
    if args.frames:
        language = language_model(args)
        rows += [row for count in args.frames for row in several(count, language, args)]
    report('scaling', args, rows, **exponents(rows))
    return 0


def resolution(size: int, args: argparse.Namespace) -> list[dict]:
    """One image of size x size pixels."""
    model = tower(args.tower, args.device, getattr(torch, args.dtype), size)
    image, places = pixels(model, 1), spatial(model, 1)
    handle = merge_tokens(twin(model), ToSA(keep=args.keep))
    runs = {
        'unmerged': lambda: model(pixel_values=image),
        'tosa': lambda: handle(pixel_values=image, spatial=places),
    }
    return timed('resolution', size, places.weight.shape[1], runs, args)


def several(count: int, language: torch.nn.Module, args: argparse.Namespace) -> list[dict]:
    """`count` images of the tower's own size, then prefill."""
    model = tower(args.tower, args.device, getattr(torch, args.dtype))
    batches = [min(BATCH_FRAMES, count - i) for i in range(0, count, BATCH_FRAMES)]
    images = [pixels(model, batch) for batch in batches]
    places = [spatial(model, batch) for batch in batches]
    handle = merge_tokens(twin(model), ToSA(keep=args.keep))
    patches = places[0].weight.shape[1]
    width = language.config.hidden_size

    def prefill(tokens: int) -> None:
        read = torch.zeros(1, tokens, width, dtype=language.dtype, device=language.device)
        language(inputs_embeds=read, logits_to_keep=1)

    def unmerged() -> None:
        for image in images:
            model(pixel_values=image)
        prefill(count * patches)

    def merged() -> None:
        left = 0
        for image, place in zip(images, places, strict=True):
            left += handle(pixel_values=image, spatial=place).size.numel()
        prefill(left)

    return timed('frames', count, count * patches, {'unmerged': unmerged, 'tosa': merged}, args)


def timed(
    curve: str, x: int, tokens: int, runs: dict[str, Callable[[], Any]], args: argparse.Namespace
) -> list[dict]:
    print(f'{curve} {x}', file=sys.stderr, flush=True)
    peaks = {name: peak_mib(run, args.device) for name, run in runs.items()}
    times = alternate(runs, args.repeats, args.device)
    return [
        {
            'curve': curve,
            'x': x,
            'tokens': tokens,
            'method': name,
            'keep': 1.0 if name == 'unmerged' else args.keep,
            'ms': median(times[name]),
            'peak_mib': peaks[name],
        }
        for name in runs
    ]


def exponents(rows: list[dict]) -> dict[str, float]:
    """Slope of log(ms) over log(tokens), for each curve and method with two points or more."""
    found = {}
    for curve, method in dict.fromkeys((row['curve'], row['method']) for row in rows):
        group = [row for row in rows if (row['curve'], row['method']) == (curve, method)]
        if len(group) > 1:
            tokens, ms = (np.log([row[key] for row in group]) for key in ('tokens', 'ms'))
            slope = np.polyfit(tokens, ms, 1)[0]
            found[f'exponent, {curve}, {method}'] = round(float(slope), 2)
    return found


def language_model(args: argparse.Namespace) -> torch.nn.Module:
    config = AutoConfig.for_model('qwen2', **LANGUAGE)
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, args.dtype))
    return model.to(args.device).eval()


def peak_mib(run: Callable[[], Any], device: str) -> float | None:
    """Memory at its highest during a run, above what there was before; None where unknown."""
    _give_back()
    if device.startswith('cuda'):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        with torch.inference_mode():
            run()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    reset = Path('/proc/self/clear_refs')
    if not reset.exists():
        return None
    reset.write_text('5')  # the highest resident size starts again from the present one
    before = _resident('VmRSS')
    with torch.inference_mode():
        run()
    return (_resident('VmHWM') - before) / 1024


def _give_back() -> None:
    """Hands freed memory back to the system; kept, it would hide what a run takes."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)  # glibc's
    if trim is not None:
        trim(0)


def resident_mib() -> float:
    """Memory of this process."""
    return _resident('VmRSS') / 1024


def _resident(field: str) -> int:
    """KiB."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


if __name__ == '__main__':
    sys.exit(main())
