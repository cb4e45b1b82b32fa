"""What a run is made of, by the options: the questions, methods, model and settings."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tosa_ros import __version__
from tosa_ros.cli import answerers, merging, options
from tosa_ros.cli.judging import judging_from
from tosa_ros.cli.parsing import UsageError

if TYPE_CHECKING:
    from tosa_ros.engines.served import ServedPipeline
    from tosa_ros.evaluation.asking import Asker, Asking
    from tosa_ros.evaluation.questions import Benchmark, Defaults
    from tosa_ros.evaluation.results import Judging
    from tosa_ros.merging import MergingMethod

# The embedded model was taught bare questions; a sentence about short answers confuses it.
EMBEDDED_PROMPT = '{question}'


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


def asker_of(made: Plan, benchmark: Benchmark, args: argparse.Namespace) -> Asker:
    """The plan's model, loaded here, with all that it is to be asked."""
    from tosa_ros.evaluation.asking import Asker

    pipeline = made.served
    if pipeline is None:
        args = argparse.Namespace(**{**vars(args), 'model': made.model})
        pipeline = answerers.pipeline_from(args, next(iter(made.methods.values())))
    return Asker(benchmark, pipeline, made.methods, made.asking)


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
