"""Frames of a question merged together, beside each by itself, at the same number of tokens.

    python -m benchmarks.together --cpu-time --doc docs/models.md

Walks through the tiny world's rooms of `val`, eight frames with depth and pose each, and the
embedded model, which was trained on frames that merge by themselves. vision ms: from a walk's
frames to its tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

import torch

from benchmarks.measuring import parser, report, setup, timed
from tosa_ros.assets import embedded_model
from tosa_ros.frames import Frame
from tosa_ros.merging import NoMerging, ToSA
from tosa_ros.stats import wilson
from tosa_ros.synthetic import episode
from tosa_ros.vlm import Answerer, VisionEncoder, VisualTokens, encode_together

FRAMES = 8
KEEPS = (0.1, 0.05, 0.025, 0.0125)
Encode = Callable[[Sequence[Frame]], list[VisualTokens]]


def main(argv: list[str] | None = None) -> int:
    options = parser(__doc__, repeats=1)
    options.add_argument('--questions', type=int, default=960)
    args = options.parse_args(argv)
    setup(args)
    path = embedded_model()
    encoder = VisionEncoder.from_pretrained(path, dtype=torch.float32)
    answerer = Answerer.from_pretrained(path, dtype=torch.float32)
    walks = []
    while sum(len(walk.questions) for walk in walks) < args.questions:
        walks.append(episode('val', len(walks), frames=FRAMES))
    rows = []
    for keep in KEEPS:
        for title, where, encode in (
            ('each, tower', 'tower', encoder.encode),
            ('each, output', 'output', encoder.encode),
            ('together', 'output', lambda frames: encode_together(encoder, frames)),
        ):
            encoder.merging = ToSA(keep=keep, where=where)
            rows.append({'merged': title, 'keep': keep, **measure(encode, answerer, walks)})
    encoder.merging = NoMerging()
    rows.insert(0, {'merged': 'not', 'keep': 1, **measure(encoder.encode, answerer, walks)})
    report('together', args, rows)
    return 0


def measure(encode: Encode, answerer: Answerer, walks: Sequence) -> dict:
    """Right answers in percent with their interval, tokens of a walk, and ms of its vision."""
    right = asked = 0
    times, counts = [], []
    for walk in walks:
        seen: list[VisualTokens] = []
        times.append(timed(lambda walk=walk, seen=seen: seen.extend(encode(walk.frames)), 'cpu'))
        counts.append(sum(map(len, seen)))
        asks = [(seen, question.text) for question in walk.questions]
        for question, said in zip(
            walk.questions, answerer.answer_batch(asks, max_new_tokens=8), strict=True
        ):
            asked += 1
            right += said.text.strip().lower() == question.answer
    low, high = wilson(right, asked)
    return {
        'tokens': round(sum(counts) / len(counts)),
        'right': f'{100 * right / asked:.1f} ({100 * low:.1f} to {100 * high:.1f})',
        'vision ms': median(times),
    }


if __name__ == '__main__':
    raise SystemExit(main())
