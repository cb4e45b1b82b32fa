"""`tosa eval`: a benchmark's questions, a model, and the official number."""

from __future__ import annotations

import argparse
import inspect
from typing import TYPE_CHECKING, Any

from tosa_ros.cli import benchmarks, console, options, planning, running, spreading
from tosa_ros.errors import printable

if TYPE_CHECKING:
    from tosa_ros.evaluation.questions import Benchmark

EPILOG = """examples:
  tosa eval tinyworld --limit 480 --out runs/tiny
  tosa eval openeqa --data open-eqa-v0.json --frames-root frames --dry-run
  tosa eval BENCHMARK --help"""
EXAMPLE = """example:
  tosa eval {name} {files}--method none --method tosa --keep 0.25 --out runs/{name}"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser('eval', help='evaluate a model on a benchmark', epilog=EPILOG)
    benchmarks.add_benchmarks(parser, add_benchmark)


def add_benchmark(
    subparsers: argparse._SubParsersAction, name: str, reader: type[Benchmark]
) -> None:
    """A benchmark's own parser, with the options that it uses and no others."""
    about = inspect.getdoc(reader) or name
    parser = subparsers.add_parser(
        name,
        help=about.splitlines()[0],
        description=about,
        epilog=benchmarks.example(EXAMPLE, name, reader),
    )
    reader.add_arguments(parser.add_argument_group(f'{name}: questions'))
    running.add_model_and_asking_options(parser, reader.defaults)
    spreading.add_worker_options(parser)
    running.add_report_options(parser, judged=reader.defaults.judged)
    parser.add_argument(
        '--dry-run', action='store_true', help='only list what was found and what the run would do'
    )
    parser.set_defaults(run=run, reader=reader)


def run(args: argparse.Namespace) -> int:
    """0, or 1 when an episode is missing or a judge failed."""
    from tosa_ros.evaluation.run_folder import check_settings
    from tosa_ros.evaluation.survey import survey

    spreading.check(args)
    benchmark, more = benchmarks.questions_of(args)
    if not args.dry_run:
        return running.run_benchmark(benchmark, args, more)
    plan = planning.plan(benchmark, args, more, loads=False)
    if args.out is not None:
        check_settings(running.run_path(args), plan.settings)
    found = survey(benchmark)
    if args.json:
        judge = None if plan.judging is None else plan.judging.judge.settings()
        methods = {label: repr(method) for label, method in plan.methods.items()}
        found |= {'settings': plan.settings, 'methods': methods, 'judge': judge}
        found |= {'out': args.out and str(args.out)}
        found |= {'gflops': args.gflops, 'gallery': args.gallery}
        found |= {'workers': spreading.described(args)}
        options.print_json(found)
    else:
        _print_survey(found)
    return int(bool(found['missing']))


def _print_survey(found: dict[str, Any]) -> None:
    print(f'{found["benchmark"]}: {found["questions"]} questions, {found["episodes"]} episodes')
    if found['scored'] < found['questions']:
        print(f'{found["scored"]} questions have an answer; the others are asked, and not scored')
    for category, count in found['categories'].items():
        print(f'  {count:6}  {printable(category) or "(no category)"}')
    for title in ('missing', 'without_depth'):
        for episode, what in found[title].items():
            print(printable(f'{title.replace("_", " ")}: {episode}: {what}', console.LONGEST_LINE))
    for episode, lines in found['notes'].items():
        for line in lines:
            print(printable(f'note: {episode}: {line}', console.LONGEST_LINE))
    for problem in found['problems']:
        print(printable(f'problem: {problem}', console.LONGEST_LINE))
    if found['missing']:
        print(f'{found["unanswerable"]} questions have no frames')
