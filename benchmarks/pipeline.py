"""A question about several frames, and a second one: vision, prefill, time to the first word.

    python -m benchmarks.pipeline --frames 12 --keeps 0.1

LLaVA-OneVision of 0.5B size with random weights, unless --model names another. Every turn asks
about frames that are new, so that nothing is known of them; the second question is about the same.
speedup: (vision + prefill) unmerged / merged. second: first word of the first question / of the
second, of the same method. Medians over turns.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.measuring import parser, report, setup
from tosa_ros import Frame, Intrinsics, NoMerging, ToSA, VqaPipeline
from tosa_ros.merging import MergingMethod
from tosa_ros.vlm.untrained import write_checkpoint

QUESTIONS = ('How many chairs are there in this room?', 'What is on the table by the window?')


def main(argv: list[str] | None = None) -> int:
    options = parser(__doc__, repeats=3)
    options.add_argument(
        '--model', help='checkpoint folder; made with random weights if not given'
    )
    options.add_argument('--size', default='0.5b', help='of the checkpoint to make: tiny or 0.5b')
    options.add_argument('--dtype', default='bfloat16')
    options.add_argument('--frames', type=int, default=12)
    options.add_argument('--keeps', nargs='+', type=float, default=[0.1])
    args = options.parse_args(argv)
    setup(args)
    dtype = getattr(torch, args.dtype)
    methods = {'unmerged': NoMerging()}
    for keep in args.keeps:
        methods[f'tosa {keep:g}'] = ToSA(keep=keep)
        methods[f'tosa-every {keep:g}'] = ToSA(keep=keep, merge_at='every')
    with tempfile.TemporaryDirectory() as folder:
        path = args.model or write_checkpoint(Path(folder) / 'model', size=args.size, dtype=dtype)
        pipeline = VqaPipeline.from_pretrained(path, device=args.device, dtype=dtype)
        report('pipeline', args, measure(pipeline, methods, args.frames, args.repeats))
    return 0


def measure(
    pipeline: VqaPipeline, methods: dict[str, MergingMethod], frames: int, repeats: int
) -> list[dict]:
    """A row a method; methods take turns."""
    turns: dict[str, list[tuple]] = {name: [] for name in methods}
    names = list(methods)
    ask(pipeline, methods[names[-1]], [frame(0)])
    for turn in range(repeats):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            new = [frame(1 + turn * frames + i) for i in range(frames)]
            turns[name].append(ask(pipeline, methods[name], new))
            print(f'turn {turn}: {name}', file=sys.stderr, flush=True)
    rows = []
    for name, method in methods.items():
        vision, prefill, second, before, after = (list(v) for v in zip(*turns[name], strict=True))
        first = [v + p for v, p in zip(vision, prefill, strict=True)]
        plain = [v + p for v, p, *_ in turns['unmerged']]
        rows.append(
            {
                'method': name,
                'keep': method.keep,
                'frames': frames,
                'tokens': after[0],
                'of': before[0],
                'vision_ms': median(vision),
                'prefill_ms': median(prefill),
                'first_ms': median(first),
                'speedup': median(a / b for a, b in zip(plain, first, strict=True)),
                'second_ms': median(second),
                'second': median(a / b for a, b in zip(first, second, strict=True)),
            }
        )
    return rows


def ask(pipeline: VqaPipeline, method: MergingMethod, frames: list[Frame]) -> tuple:
    """(vision, prefill, second question's first word) in ms; tokens before and after."""
    pipeline.merging = method
    first = pipeline.ask(frames, QUESTIONS[0], max_new_tokens=1)
    second = pipeline.ask(frames, QUESTIONS[1], max_new_tokens=1)
    second_ms = second.vision_ms + second.prefill_ms
    return first.vision_ms, first.prefill_ms, second_ms, first.tokens_before, first.tokens_after


def frame(seed: int, width: int = 640, height: int = 480) -> Frame:
    """Coloured boxes on a floor, with depth in metres."""
    rng = np.random.default_rng(seed)
    rgb = np.full((height, width, 3), 120, np.uint8)
    depth = np.repeat(np.linspace(5, 1, height, dtype=np.float32)[:, None], width, axis=1)
    for _ in range(8):
        top, left = rng.integers(0, height - 90), rng.integers(0, width - 90)
        box = np.s_[top : top + 90, left : left + 90]
        rgb[box], depth[box] = rng.integers(0, 256, 3), rng.uniform(0.8, 4)
    camera = Intrinsics(500, 500, width / 2, height / 2, width, height)
    return Frame(rgb, depth_m=depth, intrinsics=camera, stamp=float(seed))


if __name__ == '__main__':
    sys.exit(main())
