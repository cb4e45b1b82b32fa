"""`tosa train`: trains the embedded models on the tiny world, or exports what there is so far."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tosa_ros.cli.parsing import need, refuse
from tosa_ros.errors import ModelError

if TYPE_CHECKING:
    from tosa_ros.training.depth import DepthRecipe, DepthTrainer
    from tosa_ros.training.recipe import Recipe
    from tosa_ros.training.trainer import Trainer

EPILOG = """examples:
  tosa train --minutes 60
  tosa train --export model"""
# What has no effect where a state is only looked at.
OF_TRAINING = (
    '--steps', '--minutes', '--scenes', '--batch', '--no-compile', '--resume', '--fresh',
)  # fmt: skip
WHAT = ('vlm', 'depth-relative', 'depth-metric')


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'train',
        help='train the embedded models on the tiny world; stop and resume at will',
        epilog=EPILOG,
    )
    parser.add_argument('--what', choices=WHAT, default='vlm', help='the model to train (vlm)')
    parser.add_argument(
        '--out', type=Path, metavar='DIR', help='folder of state and log; default: in the cache'
    )
    parser.add_argument(
        '--data', type=Path, metavar='DIR', help='folder of rendered views; default: in the cache'
    )
    parser.add_argument('--steps', type=int, help='length of the whole training')
    parser.add_argument(
        '--minutes', type=float, default=float('inf'), help='stop after this many minutes'
    )
    parser.add_argument('--scenes', type=int, help='number of single views to render')
    parser.add_argument('--batch', type=int, help='views per step')
    parser.add_argument(
        '--device', default='auto', help='cpu, cuda, cuda:1 ... (auto: the best available)'
    )
    parser.add_argument('--threads', type=int, help='threads of torch; default: its own choice')
    parser.add_argument(
        '--no-compile', action='store_true', help='skip torch.compile: slower, but starts at once'
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        '--resume', action='store_true', help='continue from the state in --out, which must exist'
    )
    start.add_argument('--fresh', action='store_true', help='start again and overwrite --out')
    parser.add_argument(
        '--export', type=Path, metavar='DIR', help='write the checkpoint and do not train'
    )
    parser.add_argument(
        '--evaluate', metavar='SPLIT', help='print accuracy by type and do not train'
    )
    parser.add_argument('--views', type=int, default=256, help='views per evaluation (256)')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import torch

    from tosa_ros.devices import checked_device
    from tosa_ros.files import make_folder
    from tosa_ros.training.checkpoint import load_state
    from tosa_ros.training.embedded import default_folder

    _check(args)
    args.device = str(checked_device(args.device))
    if args.minutes <= 0:
        raise ModelError(f'minutes: {args.minutes:g}; wanted more than 0')
    if args.threads is not None:
        if args.threads < 1:
            raise ModelError(f'threads: {args.threads}; wanted at least 1')
        torch.set_num_threads(args.threads)
    args.out = args.out or default_folder() / args.what
    if args.resume and load_state(args.out) is None:
        raise ModelError(f'--resume: {args.out} has no training state')
    args.data = args.data or default_folder() / 'data'
    for folder in [args.export.parent] if args.export else [args.out, args.data]:
        make_folder(folder)
    return _vlm(args) if args.what == 'vlm' else _depth(args)


def _check(args: argparse.Namespace) -> None:
    """Refuses options that would change nothing."""
    if args.export or args.evaluate:
        looking = '--export' if args.export else '--evaluate'
        refuse(args, f'is for training, not for {looking}', *OF_TRAINING)
    if args.export and not args.evaluate:
        refuse(args, 'changes nothing of --export', '--views')
    if args.what != 'vlm':
        refuse(args, f'changes nothing with --what {args.what}', '--no-compile')
        if not args.evaluate:
            need(args, '--views', '--evaluate')


def _vlm(args: argparse.Namespace) -> int:
    from tosa_ros.training.checkpoint import load_state
    from tosa_ros.training.embedded import saved_recipe, start_producers, trainer_of
    from tosa_ros.training.export import export_vlm
    from tosa_ros.training.recipe import Recipe

    looking = args.export or args.evaluate
    known = looking or (not args.fresh and load_state(args.out) is not None)
    recipe = _changed(saved_recipe(args.out) if known else Recipe(), args)
    producers = [] if looking else start_producers(recipe, args.data, args.views)
    try:
        trainer = trainer_of(
            recipe,
            args.out,
            args.data,
            device=args.device,
            compiled=not args.no_compile,
            fresh=args.fresh,
        )
        return _go(
            trainer, args, lambda: export_vlm(trainer.model, trainer.tokenizer, args.export)
        )
    finally:
        for producer in producers:
            producer.terminate()


def _depth(args: argparse.Namespace) -> int:
    from tosa_ros.training.depth import DepthRecipe, DepthTrainer, export_depth
    from tosa_ros.training.embedded import start_depth_producers

    recipe = _changed(DepthRecipe(args.what.removeprefix('depth-')), args)
    trainer = DepthTrainer(recipe, out=args.out, cache=args.data, device=args.device)
    found = not args.fresh and trainer.resume()
    looking = args.export or args.evaluate
    if looking and not found:
        raise ModelError(f'{args.out}: no training state here; train first')
    producers = [] if looking else start_depth_producers(recipe, args.data)
    try:
        return _go(trainer, args, lambda: export_depth(trainer.model, args.export))
    finally:
        for producer in producers:
            producer.terminate()


def _changed(recipe: Recipe | DepthRecipe, args: argparse.Namespace) -> Recipe | DepthRecipe:
    """The recipe with what was asked for on the command line."""
    asked = {name: getattr(args, name) for name in ('steps', 'scenes', 'batch')}
    return replace(recipe, **{name: value for name, value in asked.items() if value is not None})


def _go(
    trainer: Trainer | DepthTrainer, args: argparse.Namespace, export: Callable[[], Path]
) -> int:
    from tosa_ros.training.shards import Source, write_shards

    if trainer.step:
        print(f'at step {trainer.step} of {trainer.length}', file=sys.stderr)
    if args.export:
        print(export())
    if args.evaluate:
        write_shards(args.data, Source('single', args.evaluate), args.views)
        print(json.dumps(trainer.evaluate(args.evaluate, args.views), indent=2))
    if not (args.export or args.evaluate):
        print(json.dumps(trainer.train(minutes=args.minutes)))
    return 0
