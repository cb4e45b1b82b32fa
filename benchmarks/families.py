"""Every family beside transformers' own model: difference of logits, and tokens on both roads.

    python -m benchmarks.families --doc docs/models.md

Tiny models with random weights, two frames of 640 x 480 pixels with metric depth. With --speed the
table of times instead, of models of 0.5B size (see `family_speed`).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks import family_speed, whole_models
from benchmarks.measuring import parser, report, setup
from tosa_ros.frames import Frame, Intrinsics
from tosa_ros.merging import NoMerging, ToSA
from tosa_ros.vlm import FAMILIES, Answerer, VisionEncoder
from tosa_ros.vlm.untrained import write_checkpoint

KEEPS = (0.25, 0.1)
QUESTION = 'How many mugs are on the desk?'


def main(argv: list[str] | None = None) -> int:
    options = parser(__doc__, repeats=2)
    options.add_argument('--speed', action='store_true', help='times of models of 0.5B size')
    options.add_argument('--size', default='0.5b', help='of the models of --speed: tiny or 0.5b')
    options.add_argument('--scratch', type=Path, help='folder for their weights, 2 GB at a time')
    options.add_argument('--families', nargs='+', metavar='NAME', help='only these')
    args = options.parse_args(argv)
    setup(args)
    own = [name for name in FAMILIES if FAMILIES.origin(name).startswith('tosa_ros.')]
    names = args.families or own
    if args.speed:
        return family_speed.run(args, names)
    frames = [frame(seed) for seed in range(2)]
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            measure(write_checkpoint(Path(folder) / name, family=name), frames) for name in names
        ]
    report('families', args, rows)
    return 0


def measure(path: Path, frames: list[Frame]) -> dict:
    """One family's row of the table."""
    encoder = VisionEncoder.from_pretrained(path, merging=NoMerging(), dtype=torch.float32)
    answerer = Answerer.from_pretrained(path, dtype=torch.float32)
    inputs = whole_models.inputs_of(encoder, answerer, frames, QUESTION)
    with torch.inference_mode():
        theirs = whole_models.whole(path)(**inputs).logits[0, -1]
    plain = encoder.encode(frames)
    ours = whole_models.logits(answerer, plain, QUESTION)
    row = {
        'family': encoder.family.title,
        'difference': f'{float((ours - theirs).abs().max()):.0e}',
        'of logits up to': round(float(theirs.abs().max()), 2),
        'tokens': len(plain[0]),
    }
    for road in ('tower', 'output'):
        for keep in KEEPS:
            row[f'{road} {keep}'] = None
            if road in encoder.family.roads:
                encoder.merging = ToSA(keep=keep, where=road)
                row[f'{road} {keep}'] = len(encoder.encode(frames)[0])
    return row


def frame(seed: int) -> Frame:
    """Noise with depth, 640 x 480."""
    rng = np.random.default_rng(seed)
    rgb = rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    depth_m = rng.uniform(0.5, 4, (480, 640)).astype(np.float32)
    return Frame(rgb, depth_m=depth_m, intrinsics=Intrinsics(520, 520, 320, 240, 640, 480))


if __name__ == '__main__':
    raise SystemExit(main())
