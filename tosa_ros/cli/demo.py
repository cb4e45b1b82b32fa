"""`tosa demo`: the whole path once, on rooms of the tiny world: frames in, answers out."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tosa_ros.assets import embedded_model
from tosa_ros.cli import console, options

if TYPE_CHECKING:
    from tosa_ros.pipeline import VqaPipeline
    from tosa_ros.synthetic import Sample

SCENES = 3
QUESTIONS = 4
KEEP = 0.25
EPILOG = """example:
  tosa demo --out out"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'demo',
        help='ask about rendered rooms; print answers and times, write a picture',
        epilog=EPILOG,
    )
    parser.add_argument('--out', default='out', metavar='DIR', help='folder for the picture (out)')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from tosa_ros.files import make_folder
    from tosa_ros.merging import ToSA
    from tosa_ros.pipeline import VqaPipeline
    from tosa_ros.synthetic import single

    out = make_folder(Path(args.out))
    pipeline = VqaPipeline.from_pretrained(embedded_model(), merging=ToSA(keep=KEEP))
    size = pipeline.encoder.image_input.image_size
    samples = [single('test', i, size=size, questions=QUESTIONS) for i in range(SCENES)]
    _ask(pipeline, samples)
    _compare(pipeline, samples)
    picture = out / 'demo.png'
    _draw(pipeline, samples, picture)
    print(f'picture of the merged tokens: {picture}')
    return 0


def _ask(pipeline: VqaPipeline, samples: list[Sample]) -> None:
    asked = right = 0
    for i, sample in enumerate(samples):
        print(f'\nroom {i}')
        for question in sample.questions:
            answer = pipeline.ask(sample.frame, question.text, max_new_tokens=8)
            asked += 1
            right += answer.text == question.answer
            print(f'  {question.text}  ->  {answer.text}   (truth: {question.answer})')
    print(f'\n{right} of {asked} answers are right, with {KEEP:.0%} of the visual tokens.')


def _compare(pipeline: VqaPipeline, samples: list[Sample]) -> None:
    """Vision and prefill with and without merging, turn by turn, so that both see one machine."""
    from dataclasses import replace

    from tosa_ros.merging import NoMerging, ToSA

    methods = {'none': NoMerging(), 'tosa': ToSA(keep=KEEP)}
    best = {}
    jobs = [(name, turn) for turn in range(4) for name in methods]
    for name, turn in console.progress(jobs, len(jobs), 'timing'):
        pipeline.merging = methods[name]
        # A new frame object, so that nothing is remembered from the last turn.
        frame = replace(samples[turn % len(samples)].frame)
        start = time.perf_counter()
        answer = pipeline.ask(frame, 'What is in the room?', max_new_tokens=1)
        total = 1e3 * (time.perf_counter() - start)
        if turn and (name not in best or total < best[name][0]):
            best[name] = (total, answer)
    print(f'\n{"merging":8} {"tokens":>12} {"vision":>10} {"prefill":>10}')
    for name, (_, a) in best.items():
        tokens = f'{a.tokens_after} of {a.tokens_before}'
        print(f'{name:8} {tokens:>12} {a.vision_ms:>7.0f} ms {a.prefill_ms:>7.0f} ms')
    gain = best['none'][0] / best['tosa'][0]
    print(f'to the first word: {gain:.2f} times as fast with merging')
    sys.stdout.flush()


def _draw(pipeline: VqaPipeline, samples: list[Sample], path: Path) -> None:
    from tosa_ros.cli.view import picture
    from tosa_ros.merging import ToMe, ToSA

    frames = [sample.frame for sample in samples]
    views = {}
    for name, method in {'tosa': ToSA(keep=KEEP), 'tome': ToMe(keep=KEEP)}.items():
        pipeline.merging = method
        views[name] = pipeline.visual_tokens(frames)
    options.save_picture(path, picture(pipeline.encoder, frames, views))
