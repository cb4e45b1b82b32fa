"""`tosa ask` with several questions, or about each image by itself: JSON Lines, resumable."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tosa_ros import __version__
from tosa_ros.cli import console, frames, merging, options
from tosa_ros.cli.parsing import UsageError, refuse
from tosa_ros.errors import DataError
from tosa_ros.settings import AUTO

if TYPE_CHECKING:
    from tosa_ros.evaluation.answer_file import AnswerFile
    from tosa_ros.merging import MergingMethod
    from tosa_ros.pipeline import Answer, Request
    from tosa_ros.vlm import AnswerOptions

Record = dict[str, Any]
STDIN = '-'


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('many questions; answers are JSON Lines')
    group.add_argument(
        '--each', action='store_true', help='ask about each image or frame by itself'
    )
    group.add_argument(
        '--questions',
        metavar='FILE',
        help='questions: lines of text, or CSV, JSON or JSON Lines with question, and perhaps '
        'image and id; - is standard input',
    )
    group.add_argument(
        '--out',
        type=Path,
        metavar='FILE',
        help='file for the answers (standard output); goes on with what is in it',
    )
    group.add_argument(
        '--batch',
        type=options.batch,
        default=AUTO,
        metavar='N',
        help=f'answer N questions at once, or as many as fit ({AUTO})',
    )


def is_wanted(args: argparse.Namespace, questions: Sequence[str]) -> bool:
    """Whether the options ask for many answers; what has no meaning for one is refused."""
    if args.each or args.questions or args.out or len(questions) > 1:
        refuse(args, 'is for one question', '--overlay')
        refuse(args, 'changes nothing: many answers are JSON Lines', '--json')
        return True
    refuse(args, 'is for many questions', '--batch')
    return False


def run(
    args: argparse.Namespace,
    paths: Sequence[str],
    questions: Sequence[str],
    how: AnswerOptions,
) -> int:
    """0, or 1 when a question has no answer."""
    from tosa_ros.evaluation.answer_file import AnswerFile
    from tosa_ros.evaluation.question_lists import read_questions

    method = merging.method_from(args)
    records: list[Record] = [{'question': text} for text in questions]
    if args.questions is not None:
        records += read_questions(args.questions)
    with ExitStack() as stack:
        kept = None
        if args.out is not None:
            kept = stack.enter_context(AnswerFile(args.out, _settings(args, method)))
        requests = _unique(_requests(args, paths, records, method))
        open_ones = requests if kept is None else kept.open_ones(requests)
        if not open_ones:
            console.note(f'{args.out}: all {len(requests)} questions are answered')
            return 0
        pipeline = options.pipeline_from(args, method)
        console.detail(f'{len(open_ones)} questions, at once: {args.batch}')
        answers = pipeline.ask_many(
            open_ones,
            batch_size=args.batch,
            progress=False,
            on_error='record',
            **how,
        )
        bar = console.progress(answers, len(open_ones), unit='answer', delay=0, leave=True)
        failed = sum(_tell(answer, kept) for answer in bar)
    if kept is not None:
        before, new = len(requests) - len(open_ones), len(open_ones) - failed
        console.note(f'{args.out}: {new} answers, {before} from before, {failed} failed')
    return int(failed > 0)


def _tell(answer: Answer, kept: AnswerFile | None) -> bool:
    """Keeps or prints an answer; whether there is none."""
    if answer.error:
        console.print_line(f'tosa ask: {answer.id}: {answer.error}')
    if kept is None:
        options.print_json(answer.to_dict())
        sys.stdout.flush()
    elif not answer.error:
        kept.append(answer)
    return bool(answer.error)


def _settings(args: argparse.Namespace, method: MergingMethod) -> dict[str, Any]:
    """What the answers in a file depend on, beside the questions and the images."""
    model = args.model or 'embedded'
    names = ('dtype', 'quantize', 'attn', 'revision', 'tiles', 'tower', 'trained_frames')
    names += ('max_new_tokens', 'temperature', 'top_p', 'seed', 'system', 'stop')
    names += ('rotate', 'depth_model')
    return {
        'version': __version__,
        'model': model,
        'method': repr(method),
        **{name: getattr(args, name) for name in names},
    }


def _requests(
    args: argparse.Namespace,
    paths: Sequence[str],
    records: Sequence[Record],
    method: MergingMethod,
) -> Iterator[Request]:
    """Requests of all questions; those whose record names an image are about that one."""
    named = [one for one in records if 'image' in one]
    others = [one for one in records if 'image' not in one]
    if named and others:
        raise DataError(
            f'{args.questions}: {len(named)} questions name an image, and {len(others)} do not, '
            f'such as {others[0]["question"]!r}; wanted all or none'
        )
    if named:
        yield from _of_images(args, paths, named)
    elif args.each:
        for name, part in frames.each_from(args, paths, method):
            yield from (_request(one, name, part) for one in others)
    else:
        seen = frames.frames_from(args, paths, [method])
        yield from (_request(one, '', seen) for one in others)


def _of_images(
    args: argparse.Namespace, paths: Sequence[str], records: Sequence[Record]
) -> Iterator[Request]:
    """Requests about the images that records name, in the folder of the command line."""
    why = f'has no effect: each question of {args.questions} names its image'
    names = ('--each', '--rgb', '--depth', '--frames', '--times', '--layout')
    refuse(args, why, *names)
    root = _root(args, paths)
    change = frames.change_from(args)
    for one in records:
        files = {
            'depth': root / one['depth'] if 'depth' in one else None,
            'depth_scale': one.get('depth_scale', args.depth_scale),
            'intrinsics': one.get('intrinsics', args.intrinsics),
        }
        part = frames.part_of(root / one['image'], one['image'], change, **files)
        yield _request(one, one['image'], part)


def _root(args: argparse.Namespace, paths: Sequence[str]) -> Path:
    folders = [*paths, *([args.folder] if args.folder else [])]
    if not folders:
        return Path() if args.questions == STDIN else Path(args.questions).parent
    if len(folders) > 1 or not Path(folders[0]).is_dir():
        raise UsageError(
            f'{folders[0]}: each question of {args.questions} names its image; wanted the one '
            'folder that has them'
        )
    return Path(folders[0])


def _request(record: Record, name: str, seen: Any) -> Request:
    """A request whose id, without one of its own, says the frame and the question."""
    from tosa_ros.pipeline import Request

    question = record['question']
    own = f'{name}: {question}' if name else question
    return Request(record.get('id', own), question, seen)


def _unique(requests: Iterable[Request]) -> list[Request]:
    """The requests, each once.

    Raises:
        DataError: an id that stands for two questions.
    """
    kept: dict[str, Request] = {}
    again = 0
    for request in requests:
        first = kept.setdefault(str(request.id), request)
        if first is not request and first.question != request.question:
            raise DataError(
                f'id {request.id!r} stands for two questions, {first.question!r} and '
                f'{request.question!r}; give each its own'
            )
        again += first is not request
    if again:
        console.note(f'{again} questions are there twice; each is asked once')
    return list(kept.values())
