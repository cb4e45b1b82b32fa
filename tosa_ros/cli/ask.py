"""`tosa ask`: questions about images, a folder, a video or a bag; `ask_many` has several."""

from __future__ import annotations

import argparse
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tosa_ros.cli import ask_many, console, frames, merging, options
from tosa_ros.errors import FrameError, QuestionError, plain_text
from tosa_ros.pictures import SUFFIXES
from tosa_ros.settings import DRAWING, MAX_NEW_TOKENS, SYSTEM, TRAINED_FRAMES
from tosa_ros.sources.opening import VIDEO_SUFFIXES

if TYPE_CHECKING:
    import numpy as np

    from tosa_ros.frames import Frame
    from tosa_ros.pipeline import Answer, VqaPipeline
    from tosa_ros.vlm import AnswerOptions

BATCH_FRAMES = 4


EPILOG = """examples:
  tosa ask desk.jpg "how many mugs are on the desk?" --model llava-hf/...
  tosa ask left.png right.png "what is between the chairs?"
  tosa ask walk.mp4 --times 2,5.5 "is the door open?"
  tosa ask photos --each "is anyone in it?" "what colour is it?" --out answers.jsonl
  tosa ask photos --questions questions.csv --out answers.jsonl
  tosa ask desk.png --depth desk-depth.png --depth-scale 5000 \\
      --intrinsics 520.9,521.0,325.1,249.7 "which mug is nearer?" """


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser('ask', help='ask a question about frames', epilog=EPILOG)
    parser.add_argument(
        'words',
        nargs='*',
        metavar='PATH... QUESTION...',
        help='image files, or one folder of frames or photos, video or bag; then questions',
    )
    parser.loose = 'words'
    parser.add_argument(
        '--question',
        action='append',
        metavar='TEXT',
        help='a question, instead of the last arguments; repeatable',
    )
    ask_many.add_options(parser)
    frames.add_frame_options(parser)
    options.add_model_options(parser)
    merging.add_method_options(parser)
    merging.add_setting(parser, MAX_NEW_TOKENS, default=MAX_NEW_TOKENS.default)
    merging.add_setting(parser, TRAINED_FRAMES)
    for row in (*DRAWING, SYSTEM):
        merging.add_setting(parser, row)
    parser.add_argument(
        '--stop',
        action='append',
        default=[],
        metavar='TEXT',
        help='end the answer where this would come; repeatable (none)',
    )
    parser.add_argument(
        '--overlay', metavar='OUT.png', help='write a picture of the merged tokens'
    )
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from tosa_ros.vlm.prompt import check_question

    paths, questions = _paths_and_questions(args)
    for question in questions:
        check_question(question)
    how = _answer_options(args)
    if ask_many.is_wanted(args, questions):
        return ask_many.run(args, paths, questions, how)
    (question,) = questions
    method = merging.method_from(args)
    seen = frames.frames_from(args, paths, [method])
    pipeline = options.pipeline_from(args, method)
    encoding_ms = _encode(pipeline, seen)
    pieces = pipeline.stream(seen, question, **how)
    answer = _follow(pieces, args)
    answer = replace(answer, vision_ms=encoding_ms)
    if args.json:
        options.print_json({'method': args.method, 'frames': len(seen), **answer.to_dict()})
    else:
        console.note(summary(answer, len(seen)))
        if answer.prompt_note:
            console.note(answer.prompt_note)
    if args.overlay:
        options.save_picture(args.overlay, overlay(pipeline, seen))
    return 0


def _answer_options(args: argparse.Namespace) -> AnswerOptions:
    """How to answer. Raises QuestionError for what is not allowed or would have no effect."""
    from tosa_ros.vlm.options import Answering

    chosen = {row.name: getattr(args, row.name) for row in (*DRAWING, SYSTEM)}
    how = {name: value for name, value in chosen.items() if value is not None}
    how |= {'max_new_tokens': args.max_new_tokens, 'stop_strings': args.stop}
    Answering(**how)
    return how


def _paths_and_questions(args: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Questions are given by options, or else the last words that are no paths."""
    if args.question is not None:
        return args.words, args.question
    if args.questions is not None:
        return args.words, []
    count = len(args.words)
    while count and not _exists(args.words[count - 1]):
        count -= 1
    paths, questions = args.words[:count], args.words[count:]
    if not questions:
        raise QuestionError('the question is missing: tosa ask PATH... "QUESTION"')
    for word in questions:
        beside = len(questions) > 1 and not (' ' in word.strip() or '?' in word)
        if beside or Path(word).suffix.lower() in (*SUFFIXES, *VIDEO_SUFFIXES):
            raise FrameError(
                f'{word}: no such file; a question beside others has a space or a question mark'
            )
    return paths, questions


def _exists(word: str) -> bool:
    try:
        return Path(word).exists()
    except (OSError, ValueError):  # too long for a path
        return False


def _encode(pipeline: VqaPipeline, seen: list[Frame]) -> float:
    """Encodes the frames a few at a time, for the progress bar's sake; milliseconds."""
    start = time.perf_counter()
    starts = range(0, len(seen), BATCH_FRAMES)
    for i in console.progress(starts, len(starts), 'seeing'):
        pipeline.visual_tokens(seen[i : i + BATCH_FRAMES])
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
                print(plain_text(piece), end='', flush=True)
    if not args.json:
        print()
    return answer


def summary(answer: Answer, count: int) -> str:
    """What an answer took, in one line."""
    many = '' if count == 1 else f' of {count} frames'
    return (
        f'{answer.tokens_after} of {answer.tokens_before} visual tokens{many} '
        f'(spatial: {answer.spatial}); vision {answer.vision_ms:.0f} ms, '
        f'prefill {answer.prefill_ms:.0f} ms, decode {answer.decode_ms:.0f} ms'
    )


def overlay(pipeline: VqaPipeline, seen: list[Frame]) -> np.ndarray:
    """Each frame beside its merged tokens, a row a frame."""
    from tosa_ros.drawing import draw_tokens, side_by_side, token_map

    rows = []
    for i, (frame, tokens) in enumerate(zip(seen, pipeline.visual_tokens(seen), strict=True)):
        merged = draw_tokens(frame.rgb, token_map(*pipeline.encoder.patches(frame, tokens)))
        caption = f'{len(tokens)} of {tokens.before} tokens'
        rows.append([(f'frame {i}', frame.rgb), (caption, merged)])
    return side_by_side(rows, width=480)
