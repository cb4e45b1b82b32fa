"""Questions a second by who answers: this process, workers of Ray, vLLM.

    python -m benchmarks.engines --doc docs/scale.md
    python -m benchmarks.engines --vllm --doc docs/scale.md

Walks of eight frames through the tiny world with 16 questions each, the embedded model in float32,
ToSA at keep 0.25. Of Ray: the same two threads as one worker, or as two workers with one each;
`efficiency` is of two workers beside one with one thread. vLLM, in its own environment: the local
answerer with packed positions beside it, the language model's part alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Any

import torch

from benchmarks.measuring import parser, report, setup
from tosa_ros.assets import embedded_model
from tosa_ros.evaluation.asking import Asker, Asking
from tosa_ros.evaluation.benchmarks.tinyworld import TinyWorld
from tosa_ros.evaluation.elsewhere import Errand, errand_runner
from tosa_ros.merging import ToSA
from tosa_ros.pipeline import VqaPipeline
from tosa_ros.vlm import Answerer, VisualTokens

METHODS = {'tosa': ToSA(keep=0.25)}
WORDS = 6


def main(argv: list[str] | None = None) -> int:
    options = parser(__doc__, repeats=3)
    options.add_argument('--walks', type=int, default=24)
    options.add_argument('--vllm', action='store_true', help='vLLM instead of workers')
    args = options.parse_args(argv)
    setup(args)
    name, rows = ('vllm', with_vllm(args)) if args.vllm else ('engines', with_workers(args))
    report(name, args, list(rows))
    return 0


def walks(count: int) -> TinyWorld:
    return TinyWorld.load(split='val', scenes='walks', limit=16 * count)


def runner(count: int) -> Any:
    """In a worker: the function that asks about a walk."""
    pipeline = VqaPipeline.from_pretrained(embedded_model(), dtype=torch.float32)
    asking = Asking(frames=None, max_new_tokens=WORDS)
    return errand_runner(Asker(walks(count), pipeline, METHODS, asking))


def with_workers(args: Any) -> Iterator[dict[str, Any]]:
    """Rows of one worker and of two, with the same threads in all."""
    from tosa_ros.engines.workers import RayWorkers

    benchmark = walks(args.walks)
    episodes = benchmark.by_episode().items()
    errands = [Errand(name, {'tosa': [q.id for q in some]}) for name, some in episodes]
    questions = len(benchmark.questions)
    alone = None
    for workers, threads in ((1, 1), (1, 2), (2, 1)):
        print(f'{workers} x {threads}', file=sys.stderr, flush=True)
        rates = []
        with RayWorkers(partial(runner, args.walks), workers, cpus=threads) as ray:
            list(ray.map([*errands[: 2 * workers]]))
            for _ in range(args.repeats):
                start = time.perf_counter()
                done = list(ray.map([*errands]))
                rates.append(questions / (time.perf_counter() - start))
                assert all(not one.error for one in done)
        alone = alone or median(rates)
        share = f'{median(rates) / alone / workers:.2f}' if workers > 1 else ''
        yield {
            'workers': workers,
            'threads of each': threads,
            'questions/s': median(rates),
            'times': f'{median(rates) / alone:.2f}',
            'efficiency': share,
        }


def packed_answerer() -> Answerer:
    """The embedded model with tokens one behind the other, as vLLM places them."""
    answerer = Answerer.from_pretrained(embedded_model(), dtype=torch.float32)

    def positions(image: VisualTokens, start: int) -> tuple[list[int], int]:
        end = start + len(image) + 1  # a newline
        return list(range(start, end)), end

    answerer.family.positions = positions
    return answerer


def with_vllm(args: Any) -> Iterator[dict[str, Any]]:
    """Rows of the local answerer, with its own and with packed positions, and of vLLM."""
    from tosa_ros.engines.vllm import VllmAnswerer
    from tosa_ros.evaluation.asking import episode_frames

    pipeline = VqaPipeline.from_pretrained(
        embedded_model(), dtype=torch.float32, merging=METHODS['tosa']
    )
    benchmark = walks(args.walks)
    requests = []
    for name, some in benchmark.by_episode().items():
        tokens = pipeline.visual_tokens(episode_frames(benchmark, name, Asking(frames=None)))
        requests += [(tokens, benchmark.prompt(q)) for q in some]
    vllm = VllmAnswerer.from_pretrained(embedded_model(), dtype=torch.float32)
    packed = packed_answerer()
    texts: dict[str, list[str]] = {}
    rates: dict[str, list[float]] = {}
    for turn in range(1 + args.repeats):
        for name, answerer, size in (
            ('local, one at a time', packed, 1),
            ('local, 16 about the same frames', packed, 16),
            ('vLLM', vllm, len(requests)),
        ):
            start = time.perf_counter()
            said = [
                one.text
                for at in range(0, len(requests), size)
                for one in answerer.answer_batch(requests[at : at + size], max_new_tokens=WORDS)
            ]
            if turn:  # The first one warms up.
                rates.setdefault(name, []).append(len(requests) / (time.perf_counter() - start))
            texts[name] = said
    first = 'local, one at a time'
    for name, found in rates.items():
        same = sum(a == b for a, b in zip(texts[name], texts[first], strict=True))
        yield {
            'answerer': name,
            'questions/s': median(found),
            'times': f'{median(found) / median(rates[first]):.2f}',
            'same': f'{same}/{len(requests)}',
        }


if __name__ == '__main__':
    raise SystemExit(main())
