"""`tosa ask`: one question about frames on disk."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING

from tosa_ros.cli import console, merging, options
from tosa_ros.errors import QuestionError

if TYPE_CHECKING:
    import numpy as np

    from tosa_ros.frames import Frame
    from tosa_ros.pipeline import Answer, VqaPipeline

BATCH_FRAMES = 4


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser('ask', help='ask a question about RGB-D frames')
    parser.add_argument('--question', required=True)
    options.add_frame_options(parser)
    options.add_model_options(parser)
    merging.add_method_options(parser)
    parser.add_argument('--max-new-tokens', type=int, default=64)
    parser.add_argument('--overlay', metavar='OUT.png', help='picture of the merged tokens')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from tosa_ros.vlm.prompt import check_question

    check_question(args.question)
    if args.max_new_tokens < 1:
        raise QuestionError(f'--max-new-tokens: {args.max_new_tokens}; wanted at least 1')
    method = merging.method_from(args)
    frames = options.frames_from(args)
    pipeline = options.pipeline_from(args, method)
    encoding_ms = _encode(pipeline, frames)
    pieces = pipeline.stream(frames, args.question, max_new_tokens=args.max_new_tokens)
    answer = _follow(pieces, args)
    answer = replace(answer, vision_ms=encoding_ms)
    if args.json:
        options.print_json({'method': args.method, 'frames': len(frames), **answer.to_dict()})
    else:
        print(summary(answer, len(frames)), file=sys.stderr)
    if args.overlay:
        options.save_picture(args.overlay, overlay(pipeline, frames))
    return 0


def _encode(pipeline: VqaPipeline, frames: list[Frame]) -> float:
    """Encodes the frames a few at a time, for the progress bar's sake; milliseconds."""
    start = time.perf_counter()
    starts = range(0, len(frames), BATCH_FRAMES)
    for i in console.progress(starts, len(starts), 'seeing'):
        pipeline.visual_tokens(frames[i : i + BATCH_FRAMES])
    return 1e3 * (time.perf_counter() - start)


def _follow(pieces: Generator[str, None, Answer], args: argparse.Namespace) -> Answer:
    """Shows the answer as it comes: its words, or with --json how far it is."""
    bar = console.progress(None, args.max_new_tokens, 'answering')
    with bar:
        while True:
            try:
                piece = next(pieces)
            except StopIteration as end:
                answer = end.value
                break
            if args.json:
                bar.update()
            else:
                print(piece, end='', flush=True)
    if not args.json:
        print()
    return answer


def summary(answer: Answer, frames: int) -> str:
    """What an answer took, in one line."""
    many = '' if frames == 1 else f' of {frames} frames'
    return (
        f'{answer.tokens_after} of {answer.tokens_before} visual tokens{many} '
        f'(spatial: {answer.spatial}); vision {answer.vision_ms:.0f} ms, '
        f'prefill {answer.prefill_ms:.0f} ms, decode {answer.decode_ms:.0f} ms'
    )


def overlay(pipeline: VqaPipeline, frames: list[Frame]) -> np.ndarray:
    """Each frame beside its merged tokens, a row a frame."""
    from tosa_ros.drawing import draw_tokens, side_by_side, token_map

    rows = []
    for i, (frame, tokens) in enumerate(zip(frames, pipeline.visual_tokens(frames), strict=True)):
        grid = pipeline.encoder.image_input.grid(frame.width, frame.height)
        merged = draw_tokens(frame.rgb, token_map(tokens.source, grid))
        caption = f'{len(tokens)} of {tokens.before} tokens'
        rows.append([(f'frame {i}', frame.rgb), (caption, merged)])
    return side_by_side(rows, width=480)
