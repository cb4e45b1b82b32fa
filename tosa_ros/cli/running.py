"""Asking a model many questions: the options, what a run is made of, and its report."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tosa_ros import __version__
from tosa_ros.cli import answerers, console, merging, options
from tosa_ros.cli.frames import add_rotate
from tosa_ros.cli.judging import add_judge_options, command_line, judging_from
from tosa_ros.cli.parsing import UsageError, option_strings
from tosa_ros.errors import DataError
from tosa_ros.settings import MAX_NEW_TOKENS, TRAINED_FRAMES

if TYPE_CHECKING:
    from tosa_ros.engines.served import ServedPipeline
    from tosa_ros.evaluation.asking import Asking
    from tosa_ros.evaluation.questions import Benchmark, Defaults
    from tosa_ros.evaluation.results import Judging
    from tosa_ros.evaluation.runner import Outcome
    from tosa_ros.merging import MergingMethod

# The embedded model was taught bare questions; a sentence about short answers confuses it.
EMBEDDED_PROMPT = '{question}'
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


@dataclass(frozen=True)
class Plan:
    """What a run is made of.

    settings: what its answers depend on; a folder takes no others. served: the model, where it
    is not one of this process.
    """

    model: str
    asking: Asking
    methods: dict[str, MergingMethod]
    settings: dict[str, Any]
    judging: Judging | None
    served: ServedPipeline | None


def plan(
    benchmark: Benchmark,
    args: argparse.Namespace,
    more: dict[str, Any] | None = None,
    *,
    loads: bool = True,
) -> Plan:
    """Checks all options, selects the questions, and makes the plan of the run.

    more: settings beside the shared options. loads: whether models are loaded where needed.
    """
    from tosa_ros.devices import checked_device
    from tosa_ros.evaluation.asking import Asking
    from tosa_ros.evaluation.fingerprints import fingerprint
    from tosa_ros.evaluation.questions import Shard
    from tosa_ros.loading import model_fingerprint

    if args.tower and args.gflops:
        raise UsageError('--gflops counts no operations of a --tower: leave one of them out')
    shard = None if args.shard is None else Shard.parse(args.shard)
    served = answerers.served_from(args) if answerers.is_served(args) else None
    depth, estimator = ('none', None) if served else _depth(args, benchmark.defaults)
    wanted = [answerers.NOBODY] if served else args.method or benchmark.defaults.methods
    methods = merging.labelled_methods(args, wanted)
    judging = judging_from(args, loads)
    device = str(checked_device(args.device))
    change = _change(depth, estimator, args.blind, args.rotate, device) if loads else None
    model = args.model if served else options.model_path(args)
    template = args.prompt or (None if args.model else EMBEDDED_PROMPT)
    frames = args.frames if benchmark.defaults.frames else None
    asking = Asking(frames, template, args.max_new_tokens, args.batch, change)
    benchmark.select(args.limit)
    settings = {
        'benchmark': benchmark.name,
        'questions': fingerprint(benchmark, template),
        'answerer': None if args.answerer == answerers.LOCAL else args.answerer,
        'model': model if served else Path(model).name,
        'model_fingerprint': f'{served.host} {model}' if served else model_fingerprint(model),
        'frames': frames,
        'depth': depth,
        'depth_model': estimator,
        'blind': args.blind,
        'rotate': args.rotate,
        'limit': args.limit,
        'shard': None if shard is None else str(shard),
        'batch': args.batch,
        'prompt': template or benchmark.template,
        'max_new_tokens': args.max_new_tokens,
        'trained_frames': args.trained_frames,
        'device': device,
        'dtype': args.dtype,
        'version': __version__,
        **({'tiles': True} if args.tiles else {}),
        **options.weights_from(args),
        **({'tower': Path(args.tower).name} if args.tower else {}),
        **({'compile': True} if args.compile else {}),
        **(more or {}),
    }
    benchmark.select(shard=shard)
    return Plan(model, asking, methods, settings, judging, served)


def run_benchmark(
    benchmark: Benchmark, args: argparse.Namespace, more: dict[str, Any] | None = None
) -> int:
    """Asks, scores and reports as the options say; the exit code, as `conclude` has it."""
    from tosa_ros.evaluation.gallery import pictures
    from tosa_ros.evaluation.report import check_plotting
    from tosa_ros.evaluation.run_folder import RunFolder
    from tosa_ros.evaluation.runner import evaluate, gigaflops

    check_out(args)
    check_plotting()
    made = plan(benchmark, args, more)
    with RunFolder(run_path(args), made.settings) as folder:
        pipeline = made.served
        if pipeline is None:
            args = argparse.Namespace(**{**vars(args), 'model': made.model})
            pipeline = answerers.pipeline_from(args, next(iter(made.methods.values())))
        with console.counter() as progress:
            outcome = evaluate(benchmark, pipeline, made.methods, folder, made.asking, progress)
        counted = None
        if args.gflops:
            counted = gigaflops(benchmark, pipeline, made.methods, made.asking)

        def draw(failures: list) -> dict:
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


def _depth(args: argparse.Namespace, defaults: Defaults) -> tuple[str, str | None]:
    """Which depth the model is shown, and the checkpoint that estimates it, if one does."""
    if args.blind:
        if args.depth_model or args.depth not in (None, 'none'):
            raise UsageError('--blind shows no depth: leave out --depth and --depth-model')
        return 'none', None
    if args.depth_model:
        if args.depth not in (None, 'monocular'):
            raise UsageError(f'--depth-model estimates depth; --depth {args.depth} does not')
        return 'monocular', args.depth_model
    depth = args.depth or defaults.depths[0]
    if depth != 'monocular':
        return depth, None
    if not defaults.embedded_depth:
        raise UsageError(
            '--depth monocular needs --depth-model, a checkpoint that estimates depth'
        )
    return depth, 'embedded'


def _change(depth: str, estimator: str | None, blind: bool, rotate: int, device: str) -> Any:
    from tosa_ros.evaluation import conditions

    estimate = None
    if estimator:
        from tosa_ros.assets import embedded_depth
        from tosa_ros.depth import load_estimator

        path = embedded_depth('metric') if estimator == 'embedded' else estimator
        estimate = load_estimator(path, device=device).replace_depth
    return conditions.shown(depth, blind=blind, estimate=estimate, rotate=rotate)
