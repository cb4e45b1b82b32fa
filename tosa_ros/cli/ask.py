"""`tosa ask`: one question about frames on disk."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from tosa_ros.cli import options

if TYPE_CHECKING:
    import numpy as np

    from tosa_ros.frames import Frame
    from tosa_ros.pipeline import Answer, VqaPipeline


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser('ask', help='ask a question about RGB-D frames')
    parser.add_argument('--question', '-q', required=True)
    options.add_frame_options(parser)
    options.add_model_options(parser)
    options.add_method_options(parser)
    parser.add_argument('--max-new-tokens', type=int, default=64)
    parser.add_argument('--overlay', metavar='OUT.png', help='picture of the merged tokens')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from tosa_ros.vlm.prompt import check_question

    check_question(args.question)
    method = options.method_from(args)
    frames = options.frames_from(args)
    pipeline = options.pipeline_from(args, method)
    if args.json:
        answer = pipeline.ask(frames, args.question, max_new_tokens=args.max_new_tokens)
        options.print_json({'method': args.method, 'frames': len(frames), **answer.to_dict()})
    else:
        answer = pipeline.ask(frames, args.question, max_new_tokens=args.max_new_tokens)
        print(answer.text)
        print(summary(answer, len(frames)), file=sys.stderr)
    if args.overlay:
        options.save_picture(args.overlay, overlay(pipeline, frames))
    return 0


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
