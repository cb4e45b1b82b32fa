"""Asking a model many questions: the options, what a run is made of, and its report."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tosa_ros.cli import answerers, console, merging, options, spreading
from tosa_ros.cli.frames import add_rotate
from tosa_ros.cli.judging import add_judge_options, command_line, judging_from
from tosa_ros.cli.parsing import UsageError, option_strings
from tosa_ros.cli.planning import asker_of, plan
from tosa_ros.errors import DataError
from tosa_ros.settings import MAX_NEW_TOKENS, TRAINED_FRAMES

if TYPE_CHECKING:
    from tosa_ros.evaluation.questions import Benchmark, Defaults
    from tosa_ros.evaluation.results import Judging
    from tosa_ros.evaluation.runner import Outcome

PROBLEMS_SHOWN = 3  # The report has all.


def add_model_and_asking_options(parser: argparse.ArgumentParser, defaults: Defaults) -> None:
    """Options of a model that is asked many questions."""
    before = {*option_strings(parser), '--model'}
    options.add_model_options(parser)
    answerers.add_answerer_options(parser, set(option_strings(parser)) - before)
    merging.add_method_options(parser, several=defaults.methods, keeps=True)
    _add_asking_options(parser, defaults)


def _add_asking_options(parser: argparse.ArgumentParser, defaults: Defaults) -> None:
    group = parser.add_argument_group('asking')
    count, depth, batch = defaults.frames, defaults.depths[0], defaults.batch
    if count is not None:
        group.add_argument(
            '--frames', type=int, default=count, metavar='K', help=f'frames per episode ({count})'
        )
    group.add_argument(
        '--depth',
        choices=defaults.depths,
        help=f"depth that merging uses ({depth}); noisy: like a cheap camera's",
    )
    options.add_depth_model_option(group)
    add_rotate(group)
    group.add_argument('--blind', action='store_true', help='replace all images by black ones')
    limit = defaults.limit
    group.add_argument(
        '--limit',
        type=int,
        default=limit,
        metavar='N',
        help=f'ask only the first N questions ({limit or "all"})',
    )
    group.add_argument(
        '--shard',
        metavar='I/N',
        help='ask only part I of N, by episodes; without it, report all parts together',
    )
    group.add_argument(
        '--batch',
        type=options.batch,
        default=batch,
        metavar='N',
        help=f'answer N questions at once, or as many as fit ({batch})',
    )
    words = defaults.max_new_tokens
    merging.add_setting(group, replace(MAX_NEW_TOKENS, default=words), default=words)
    merging.add_setting(group, TRAINED_FRAMES)
    group.add_argument(
        '--gflops', action='store_true', help='count the operations of one question, by method'
    )


def add_report_options(parser: argparse.ArgumentParser, *, judged: bool) -> None:
    """Options that have a meaning whoever answers."""
    parser.add_argument('--prompt', metavar='TEXT', help='text around each {question}')
    parser.add_argument(
        '--out',
        type=Path,
        metavar='DIR',
        help='folder for answers and report; resumes a run in it',
    )
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.add_argument(
        '--gallery',
        type=int,
        default=6,
        metavar='N',
        help='show N failures with their frames in the report (6; 0 for none)',
    )
    if judged:
        add_judge_options(parser)


def run_benchmark(
    benchmark: Benchmark, args: argparse.Namespace, more: dict[str, Any] | None = None
) -> int:
    """Asks, scores and reports as the options say; the exit code, as `conclude` has it."""
    from tosa_ros.evaluation.gallery import pictures
    from tosa_ros.evaluation.report import check_plotting
    from tosa_ros.evaluation.run_folder import RunFolder
    from tosa_ros.evaluation.runner import Here, evaluate_by, gigaflops

    check_out(args)
    check_plotting()
    spread = spreading.check(args)
    made = plan(benchmark, args, more)
    with RunFolder(run_path(args), made.settings) as folder:
        counted, asker = None, None
        if spread:
            with spreading.workers_of(args) as who, spreading.counter(who) as progress:
                outcome = evaluate_by(who, benchmark, made.methods, folder, progress)
        else:
            asker = asker_of(made, benchmark, args)
            with console.counter() as progress:
                outcome = evaluate_by(Here(asker), benchmark, made.methods, folder, progress)
        if args.gflops:
            counted = gigaflops(benchmark, asker.pipeline, made.methods, made.asking)

        def draw(failures: list) -> dict:
            pipeline = asker and asker.pipeline
            return pictures(benchmark, failures, made.asking, pipeline, made.methods)

        return conclude(
            benchmark, outcome, args, made.settings, made.judging, draw, gflops=counted
        )


def merge_benchmark(
    benchmark: Benchmark, args: argparse.Namespace, settings: dict[str, Any]
) -> int:
    """Scores and reports what a run and its shards have, and asks nothing.

    settings: the run's, which the shards were made with; the model need not be here.
    """
    from tosa_ros.evaluation.fingerprints import fingerprint
    from tosa_ros.evaluation.gallery import pictures
    from tosa_ros.evaluation.report import check_plotting
    from tosa_ros.evaluation.run_folder import RunFolder
    from tosa_ros.evaluation.runner import gather

    check_plotting()
    made = plan(benchmark, args, loads=False)
    if fingerprint(benchmark, made.asking.template) != settings.get('questions'):
        raise DataError(
            f'{args.out}: the questions that its command line names are not those that its shards '
            'were asked; put the files back where they were'
        )
    with RunFolder(args.out, settings) as folder:
        outcome = gather(benchmark, made.methods, folder)

        def draw(failures: list) -> dict:
            return pictures(benchmark, failures, made.asking)

        return conclude(benchmark, outcome, args, settings, judging_from(args), draw)


def check_out(args: argparse.Namespace) -> None:
    if args.out is None:
        raise UsageError('--out is missing; wanted the folder for answers and report')
    if args.gallery < 0:
        raise UsageError(f'--gallery {args.gallery}; wanted a number of failures, 0 for none')


def run_path(args: argparse.Namespace) -> Path:
    """The folder of the run, or of its shard."""
    from tosa_ros.evaluation.questions import Shard
    from tosa_ros.evaluation.run_folder import shard_folder

    shard = getattr(args, 'shard', None)
    return shard_folder(args.out, str(Shard.parse(shard))) if shard else args.out


def conclude(
    benchmark: Benchmark,
    outcome: Outcome,
    args: argparse.Namespace,
    settings: dict[str, Any],
    judging: Judging | None,
    draw: Callable[[list], dict] = lambda failures: {},
    **more: Any,
) -> int:
    """Scores, writes the report and prints the scores.

    draw: gives pictures of failures, by question.

    Returns:
        1 when something is missing: an episode, an answer, a method's answers, a judge's marks.
    """
    from tosa_ros.evaluation.provenance import add_command, made_by
    from tosa_ros.evaluation.report import write_report
    from tosa_ros.evaluation.results import score_run

    out = run_path(args)
    add_command(out, command_line(args))
    more |= {'made': made_by(out), 'shown': args.gallery}
    with console.counter('mark') as progress:
        results = score_run(benchmark, outcome, out, settings, judging, progress=progress, **more)
    write_report(out, results, draw(results['failures']))
    code = print_results(results, args)
    console.note(f'report: {out / "report.html"}')
    return code


def print_results(results: dict[str, Any], args: argparse.Namespace) -> int:
    """Prints what `score_run` found; 1 when something is missing, as `conclude` says."""
    from tosa_ros.evaluation.report import difference_table, markdown_table, score_table

    if args.json:
        options.print_json(results)
    else:
        print('\n'.join(markdown_table(score_table(results))))
        if results['differences']:
            print('\n' + '\n'.join(markdown_table(difference_table(results['differences']))))
        scores = [score for one in results['methods'].values() for score in one['scores'][:1]]
        for over in dict.fromkeys(score['interval_over'] for score in scores):
            print(f'\nintervals and p over {over}')
    if not results['scored']:
        console.note('no answers to compare with, so no scores: see <method>/predictions.json')
    for problem in results['problems'][:PROBLEMS_SHOWN]:
        console.note(problem)
    for what, why in [*results['not_evaluated'].items(), *results['judge_errors'].items()]:
        console.print_line(f'tosa {args.command}: {what}: {why}')
    return int(bool(results['not_evaluated'] or results['judge_errors']))
