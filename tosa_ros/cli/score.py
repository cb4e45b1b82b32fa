"""`tosa score`: the official number of predictions that were made anywhere."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tosa_ros import __version__
from tosa_ros.cli import benchmarks, console, running
from tosa_ros.cli.judging import add_judge_options, judging_from
from tosa_ros.cli.parsing import UsageError, need

if TYPE_CHECKING:
    from tosa_ros.evaluation.questions import Benchmark
    from tosa_ros.evaluation.runner import Outcome

EPILOG = """examples:
  tosa score openeqa --data open-eqa-v0.json --predictions mine.json
  tosa score vqav2 --data v2_OpenEnded_questions.json --predictions new.json --against old.json
  tosa score BENCHMARK --help"""
EXAMPLE = """example:
  tosa score {name} {files}--predictions new.json --against old.json"""
ABOUT = """Scores files of predictions: {{id: text}}, a run's answers.jsonl, or the benchmark's
submission format. A question without a prediction is wrong, and is counted."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'score', help='score predictions that were made anywhere', epilog=EPILOG
    )
    benchmarks.add_benchmarks(parser, add_benchmark)


def add_benchmark(
    subparsers: argparse._SubParsersAction, name: str, reader: type[Benchmark]
) -> None:
    """A benchmark's own parser, with the options that say which questions there are."""
    parser = subparsers.add_parser(
        name,
        help=f'predictions for {name}',
        description=ABOUT.format(),
        epilog=benchmarks.example(EXAMPLE, name, reader),
    )
    reader.add_arguments(_WithoutFrames(parser.add_argument_group(f'{name}: questions')))
    parser.add_argument(
        '--predictions',
        type=Path,
        nargs='+',
        required=True,
        metavar='FILE',
        help='what was predicted: .json or .jsonl',
    )
    parser.add_argument(
        '--against', type=Path, metavar='FILE', help='predictions to compare them with, in pairs'
    )
    parser.add_argument(
        '--limit', type=int, metavar='N', help='score only the first N questions (all)'
    )
    parser.add_argument(
        '--out', type=Path, metavar='DIR', help='folder for scores.json, `tosa compare` and marks'
    )
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    if reader.defaults.judged:
        add_judge_options(parser)
    parser.set_defaults(run=run, reader=reader, device='auto')


class _WithoutFrames:
    """A group of options that leaves out those of frames: scoring reads none."""

    def __init__(self, group: argparse._ArgumentGroup) -> None:
        from tosa_ros.evaluation.questions import FILE_OPTIONS, QUESTION_FILES

        self.group = group
        self.left_out = {
            f'--{name.replace("_", "-")}' for name in FILE_OPTIONS if name not in QUESTION_FILES
        }

    def add_argument(self, *names: str, **more: Any) -> argparse.Action | None:
        return None if names[0] in self.left_out else self.group.add_argument(*names, **more)


def run(args: argparse.Namespace) -> int:
    """0, or 1 when a prediction is missing or a judge failed."""
    from tosa_ros.evaluation.fingerprints import fingerprint
    from tosa_ros.evaluation.results import score_run

    benchmark = benchmarks.load_questions(args)
    if not benchmark.scored:
        raise UsageError(f'{benchmark.name}: its questions have no answers: nothing to score')
    for option in ('--judge-url', '--judge-model'):
        need(args, option, '--out')  # which keeps the marks
    judging = judging_from(args)
    files = [*([args.against] if args.against else []), *args.predictions]
    outcome = _outcome(benchmark, files, args.limit)
    settings = {
        'benchmark': benchmark.name,
        'questions': fingerprint(benchmark),
        'limit': args.limit,
        'predictions': [str(file) for file in files],
        'version': __version__,
    }
    with _folder(args.out, settings) as folder, console.counter('mark') as progress:
        results = score_run(benchmark, outcome, folder, settings, judging, progress=progress)
    return running.print_results(results, args)


def _outcome(benchmark: Benchmark, files: list[Path], limit: int | None) -> Outcome:
    """The predictions as a run's answers; a question without one is a fault of its file."""
    from tosa_ros.evaluation.predictions import labels_of, read_predictions
    from tosa_ros.evaluation.runner import Outcome

    read = {
        label: read_predictions(file, [q.id for q in benchmark.questions])
        for label, file in zip(labels_of(files), files, strict=True)
    }
    benchmark.select(limit)
    outcome = Outcome()
    for label, (predictions, problems) in read.items():
        for problem in problems:
            benchmark.note(problem)
        outcome.answers[label] = [
            {'question_id': q.id, 'answer': predictions[q.id]}
            for q in benchmark.questions
            if q.id in predictions
        ]
        lacking = [q.id for q in benchmark.scored if q.id not in predictions]
        if lacking:
            outcome.faults[label] = (
                f'{len(lacking)} of {len(benchmark.scored)} questions have no prediction and '
                f'count as wrong, the first {lacking[0]!r}'
            )
    return outcome


@contextlib.contextmanager
def _folder(out: Path | None, settings: dict[str, Any]) -> Iterator[Path]:
    from tosa_ros.evaluation.run_folder import RunFolder

    if out is None:
        with TemporaryDirectory() as place:
            yield Path(place)
    else:
        with RunFolder(out, settings) as folder:
            yield folder.path
