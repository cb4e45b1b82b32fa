"""The options of an evaluation by several workers, and what each of them does."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from tosa_ros.cli import benchmarks, console, planning
from tosa_ros.cli.parsing import need, refuse

if TYPE_CHECKING:
    from tosa_ros.engines.workers import RayWorkers
    from tosa_ros.evaluation.elsewhere import Elsewhere

RAY, LOCAL = 'ray', 'local'


def add_worker_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('workers')
    group.add_argument(
        '--workers', choices=[RAY], help='answer episodes in several processes, by Ray'
    )
    group.add_argument(
        '--ray-address',
        default=LOCAL,
        metavar='A',
        help="cluster: HOST:PORT, auto (this machine's), or local (a new one, for this run)",
    )
    group.add_argument('--num-workers', type=int, default=1, metavar='N', help='workers (1)')
    group.add_argument(
        '--cpus-per-worker',
        type=float,
        metavar='C',
        help='CPUs, and threads of torch, of each (local: a fair share; on clusters 1)',
    )
    group.add_argument(
        '--gpus-per-worker', type=float, default=0, metavar='G', help='GPUs of each (0)'
    )


def check(args: argparse.Namespace) -> bool:
    """Whether there are workers; raises UsageError for options that then have no effect."""
    for option in ('--ray-address', '--num-workers', '--cpus-per-worker', '--gpus-per-worker'):
        need(args, option, '--workers')
    if getattr(args, 'workers', None) is None:
        return False
    refuse(args, 'counts operations of one process; leave out --workers', '--gflops')
    return True


def described(args: argparse.Namespace) -> dict[str, Any] | None:
    """What a run's workers would be; None without."""
    if not check(args):
        return None
    names = ('ray_address', 'num_workers', 'cpus_per_worker', 'gpus_per_worker')
    return {name: getattr(args, name) for name in names}


@contextlib.contextmanager
def workers_of(args: argparse.Namespace) -> Iterator[Elsewhere]:
    """Who asks by workers; at the end it is said what each did."""
    from tosa_ros.engines.workers import RayWorkers
    from tosa_ros.evaluation.elsewhere import Elsewhere

    cpus = args.cpus_per_worker
    if cpus is None:
        share = (os.cpu_count() or 1) // max(1, args.num_workers)
        cpus = max(1, share) if args.ray_address == LOCAL else 1
    make = partial(_errands, args.argv, os.getcwd())
    with RayWorkers(
        make, args.num_workers, cpus=cpus, gpus=args.gpus_per_worker, address=args.ray_address
    ) as workers:
        yield Elsewhere(workers)
        console.note(f'workers: {_state_of(workers)} episodes')


@contextlib.contextmanager
def counter(who: Elsewhere) -> Iterator[Callable[[int, int], None]]:
    """As `console.counter`, with how many episodes each worker has done."""
    with console.counter(state=lambda: _state_of(who.workers)) as show:
        yield show


def _state_of(workers: RayWorkers) -> str:
    return ', '.join(f'{name} {count}' for name, count in sorted(workers.counts.items()))


def _errands(argv: list[str], folder: str) -> Callable[[Any], Any]:
    """In a worker: the function of its model and questions, by the command line."""
    from tosa_ros.cli.main import build_parser
    from tosa_ros.evaluation.elsewhere import errand_runner

    os.chdir(folder)
    args = build_parser(argv[0]).parse_args(argv)
    benchmark, more = benchmarks.questions_of(args)
    made = planning.plan(benchmark, args, more)
    return errand_runner(planning.asker_of(made, benchmark, args))
