"""`tosa eval`: a benchmark's questions, a model, and the official number."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tosa_ros import __version__
from tosa_ros.cli import merging, options, tinyworld
from tosa_ros.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tosa_ros.evaluation.questions import Benchmark
    from tosa_ros.evaluation.results import Judging
    from tosa_ros.evaluation.runner import Asking, Outcome

NAMES = (
    'openeqa',
    'vsibench',
    'sqa3d',
    'scanqa',
    'gqa',
    'vqav2',
    'vqav2-counting',
    'tinyworld',
    'tinyworld-views',
    'tinyworld-walks',
    'jsonl',
)

# The embedded model was taught bare questions; a sentence about short answers confuses it.
EMBEDDED_PROMPT = '{question}'


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser('eval', help='evaluate a model on a benchmark')
    parser.add_argument('benchmark', choices=NAMES)
    parser.add_argument(
        '--data', metavar='FILE', help='question file; tinyworld-views, -walks: SPLIT:COUNT'
    )
    parser.add_argument('--annotations', type=Path, metavar='FILE', help='sqa3d, vqav2: answers')
    parser.add_argument(
        '--frames-root', type=Path, metavar='DIR', help="where the episodes' folders are"
    )
    parser.add_argument(
        '--depth-scale', type=float, metavar='N', help='units of the depth files per metre'
    )
    parser.add_argument('--dry-run', action='store_true', help='only say what is there')
    tinyworld.add_options(parser)
    add_run_options(parser)
    parser.set_defaults(run=run)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Options of everything that asks a model many questions."""
    options.add_model_options(parser)
    merging.add_method_options(parser, several=['tosa'], keeps=True)
    group = parser.add_argument_group('asking')
    group.add_argument('--frames', type=int, default=12, metavar='K', help='frames each (12)')
    group.add_argument('--prompt', metavar='TEXT', help='what is asked, with {question} in it')
    group.add_argument('--max-new-tokens', type=int, default=64)
    group.add_argument(
        '--depth-model', metavar='P', help='estimate depth with this Depth Anything checkpoint'
    )
    group = parser.add_argument_group('judge (LLM-Match)')
    group.add_argument('--judge-url', metavar='URL', help='OpenAI-compatible, up to /v1')
    group.add_argument('--judge-model', metavar='M', help='model there, or a local checkpoint')
    group.add_argument(
        '--judge-prompts', type=Path, metavar='DIR', help="OpenEQA's prompts, for its exact words"
    )
    group.add_argument(
        '--judge-key-env', default='OPENAI_API_KEY', metavar='NAME', help='variable with the key'
    )
    parser.add_argument('--out', type=Path, metavar='DIR', help='folder of the run; resumes')
    parser.add_argument('--json', action='store_true', help='print one JSON object')


def run(args: argparse.Namespace) -> int:
    from tosa_ros.evaluation.benchmarks import load_benchmark
    from tosa_ros.evaluation.survey import survey

    if args.benchmark == 'tinyworld':
        return tinyworld.run(args)
    if args.data is None:
        raise DataError(f'--data is missing: the question file of {args.benchmark}')
    benchmark = load_benchmark(
        args.benchmark,
        args.data,
        annotations=args.annotations,
        frames_root=args.frames_root,
        depth_scale=args.depth_scale,
    )
    if args.dry_run:
        found = survey(benchmark)
        options.print_json(found) if args.json else _print_survey(found)
        return 0
    return run_benchmark(benchmark, args)


def run_benchmark(
    benchmark: Benchmark, args: argparse.Namespace, more_settings: dict[str, Any] | None = None
) -> int:
    """Asks, scores and reports as the options say; 1 when a judge failed.

    more_settings: what the answers depend on besides those options.
    """
    from tosa_ros.evaluation.report import check_plotting
    from tosa_ros.evaluation.run_folder import RunFolder
    from tosa_ros.evaluation.runner import Asking, evaluate

    if args.out is None:
        raise DataError('--out is missing: the folder for answers and report')
    check_plotting()
    prompt = args.prompt or (None if args.model else EMBEDDED_PROMPT)
    args = argparse.Namespace(**{**vars(args), 'model': options.model_path(args)})
    methods = merging.labelled_methods(args, args.method or ['tosa'])
    judging = judging_from(args)
    asking = Asking(args.frames, prompt, args.max_new_tokens, _depth_estimator(args))
    settings = settings_from(benchmark, asking, args) | (more_settings or {})
    with RunFolder(args.out, settings) as folder:
        pipeline = options.pipeline_from(args, next(iter(methods.values())))
        with progress_bar() as progress:
            outcome = evaluate(benchmark, pipeline, methods, folder, asking, progress)
        return conclude(benchmark, outcome, args, settings, judging)


def conclude(
    benchmark: Benchmark,
    outcome: Outcome,
    args: argparse.Namespace,
    settings: dict[str, Any],
    judging: Judging | None,
    live: dict[str, Any] | None = None,
) -> int:
    """Scores, writes the report and prints the scores; 1 when a judge failed."""
    from tosa_ros.evaluation.report import markdown_table, score_table, write_report
    from tosa_ros.evaluation.results import score_run

    with progress_bar('mark') as progress:
        results = score_run(benchmark, outcome, args.out, settings, judging, live, progress)
    write_report(args.out, results)
    if args.json:
        options.print_json(results)
    else:
        print('\n'.join(markdown_table(score_table(results))))
    for what, why in [*results['not_evaluated'].items(), *results['judge_errors'].items()]:
        print(f'tosa {args.command}: {what}: {why}', file=sys.stderr)
    print(f'report: {args.out / "report.html"}', file=sys.stderr)
    return 1 if results['judge_errors'] else 0


def judging_from(args: argparse.Namespace) -> Judging | None:
    """The judge that the options name: an endpoint, a local checkpoint, or none."""
    from tosa_ros.evaluation.judge import DEFAULT_JUDGE, EndpointJudge, LocalJudge
    from tosa_ros.evaluation.judge_prompts import JudgePrompts
    from tosa_ros.evaluation.results import Judging

    if not args.judge_url and not args.judge_model:
        return None
    folder = args.judge_prompts
    prompts = JudgePrompts() if folder is None else JudgePrompts.from_folder(folder)
    if args.judge_url:
        name = args.judge_key_env
        model = args.judge_model or DEFAULT_JUDGE
        judge = EndpointJudge(
            args.judge_url, model, api_key=os.environ.get(name), key_source=f'${name}'
        )
        return Judging(judge, prompts)
    return Judging(LocalJudge(args.judge_model, args.device), prompts)


def settings_from(
    benchmark: Benchmark, asking: Asking, args: argparse.Namespace
) -> dict[str, Any]:
    """What the answers depend on; a run folder takes no others."""
    from tosa_ros.evaluation.runner import fingerprint, model_fingerprint

    root = getattr(args, 'frames_root', None)
    return {
        'benchmark': benchmark.name,
        'questions': fingerprint(benchmark, asking),
        'model': Path(args.model).name,
        'model_fingerprint': model_fingerprint(args.model),
        'frames': asking.frames,
        'prompt': asking.template or benchmark.template,
        'max_new_tokens': asking.max_new_tokens,
        'depth_model': args.depth_model,
        'depth_scale': getattr(args, 'depth_scale', None),
        'frames_root': None if root is None else str(root.resolve()),
        'device': args.device,
        'dtype': args.dtype,
        'version': __version__,
    }


def _depth_estimator(args: argparse.Namespace) -> Any:
    if not args.depth_model:
        return None
    from tosa_ros.depth import MonocularDepth

    estimator = MonocularDepth.from_pretrained(args.depth_model, device=args.device)
    return lambda frame: estimator.annotate(frame.without_depth())


@contextlib.contextmanager
def progress_bar(unit: str = 'answer') -> Iterator[Callable[[int, int], None]]:
    """Rate and time left, of what this process does of it."""
    from tqdm import tqdm

    bar: tqdm | None = None

    def show(done: int, wanted: int) -> None:
        nonlocal bar
        if bar is None or done < bar.n:
            bar = tqdm(total=wanted, initial=done, unit=unit, file=sys.stderr)
        bar.update(done - bar.n)

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()


def _print_survey(found: dict[str, Any]) -> None:
    print(f'{found["benchmark"]}: {found["questions"]} questions, {found["episodes"]} episodes')
    for category, count in found['categories'].items():
        print(f'  {count:6}  {category or "(no category)"}')
    for title in ('missing', 'without_depth'):
        for episode, what in found[title].items():
            print(f'{title.replace("_", " ")}: {episode}: {what}')
    for problem in found['problems']:
        print(f'problem: {problem}')
    if found['missing']:
        print(f'{found["unanswerable"]} questions have no frames')
