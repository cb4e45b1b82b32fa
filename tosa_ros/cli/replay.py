"""`tosa replay`: questions about a bag, answered by reading it or by the nodes it is played to."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tosa_ros import __version__
from tosa_ros.cli.eval import (
    add_run_options,
    conclude,
    judging_from,
    progress_bar,
    run_benchmark,
)
from tosa_ros.errors import DataError
from tosa_ros.settings import SETTINGS

if TYPE_CHECKING:
    from tosa_ros.evaluation.replay import BagQuestions

# What only --offline has, as the nodes have their own, with what it is if it is not given.
MODEL_OPTIONS = {
    'model': None,
    'device': 'cpu',
    'dtype': None,
    'method': None,
    **dict.fromkeys(SETTINGS),
    'frames': 12,
    'max_new_tokens': 64,
    'depth_model': None,
}


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser('replay', help='ask questions about a bag')
    parser.add_argument('bag', type=Path, metavar='BAG', help='folder, .mcap, .db3 or .bag')
    parser.add_argument(
        '--questions', type=Path, required=True, metavar='Q.json', help='list or JSON Lines'
    )
    parser.add_argument(
        '--offline', action='store_true', help='read the bag and call the model; no ROS runs'
    )
    parser.add_argument(
        '--live', action='store_true', help='play the bag to the running nodes and ask them'
    )
    group = parser.add_argument_group('live')
    group.add_argument('--rate', type=float, default=1.0, metavar='X', help='speed of playing (1)')
    group.add_argument('--namespace', default='', metavar='NS', help='of the nodes')
    group.add_argument(
        '--timeout', type=float, default=60.0, metavar='S', help='for an answer, seconds (60)'
    )
    add_topic_options(parser)
    add_run_options(parser)
    parser.set_defaults(run=run)


def add_topic_options(parser: argparse.ArgumentParser) -> None:
    """Names of topics; without them they are found by their types."""
    group = parser.add_argument_group("topics; 'none' leaves one out")
    for name in ('image', 'depth', 'camera-info', 'depth-camera-info', 'pose'):
        group.add_argument(f'--{name}-topic', metavar='T')
    group.add_argument(
        '--slop', type=float, default=0.05, metavar='S', help='depth may be so far off (0.05 s)'
    )


def topics_from(args: argparse.Namespace):
    """The BagTopics that the options name."""
    from tosa_ros.evaluation.bags import BagTopics

    return BagTopics(
        image=args.image_topic,
        depth=args.depth_topic,
        camera_info=args.camera_info_topic,
        depth_camera_info=args.depth_camera_info_topic,
        pose=args.pose_topic,
    )


def run(args: argparse.Namespace) -> int:
    from tosa_ros.evaluation.bags import BagFrames
    from tosa_ros.evaluation.replay import BagQuestions

    if args.offline == args.live:
        raise DataError(
            'mode: wanted --offline (reads the bag and calls the model) or --live (plays it to '
            'the running nodes)'
        )
    if args.live:
        _check_live(args)
    bag = BagFrames(args.bag, topics_from(args), args.slop)
    benchmark = BagQuestions.load(args.questions, bag)
    for note in bag.notes:
        benchmark.note(note)
    more = {'bag': args.bag.name, 'slop_s': args.slop, **vars(bag.topics)}
    if args.offline:
        return run_benchmark(benchmark, args, more)
    with _ros(args.namespace):
        return _run_live(benchmark, args, more)


def _check_live(args: argparse.Namespace) -> None:
    """Refuses options that would change nothing, and what is missing, before anything starts."""
    for name, default in MODEL_OPTIONS.items():
        if getattr(args, name) != default:
            option = f'--{name.replace("_", "-")}'
            raise DataError(f'{option} is for --offline; of the running nodes it is a parameter')
    if args.out is None:
        raise DataError('--out is missing: the folder for answers and report')


@contextlib.contextmanager
def _ros(namespace: str) -> Iterator[None]:
    """rclpy, initialised in a namespace; a signal raises KeyboardInterrupt."""
    from tosa_ros.ros.session import ros_arguments, session

    with session('tosa replay --live', ros_arguments(namespace)):
        for number in (signal.SIGINT, signal.SIGTERM):  # A shell's background jobs ignore SIGINT.
            signal.signal(number, signal.default_int_handler)
        yield


def _run_live(benchmark: BagQuestions, args: argparse.Namespace, more: dict[str, Any]) -> int:
    """Plays the bag to the nodes; 1 when a judge failed."""
    from tosa_ros.evaluation.live import evaluate_live, played_types, recorded
    from tosa_ros.evaluation.report import check_plotting
    from tosa_ros.evaluation.run_folder import RunFolder
    from tosa_ros.evaluation.runner import Asking, fingerprint
    from tosa_ros.ros.playback import LiveReplay

    check_plotting()
    judging, asking, bag = judging_from(args), Asking(template=args.prompt), benchmark.bag
    types = played_types(bag)
    with contextlib.closing(
        LiveReplay(types, recorded(bag), rate=args.rate, image=bag.topics.image)
    ) as replay:
        print('tosa replay: waiting for the nodes', file=sys.stderr)
        settings = {
            'benchmark': benchmark.name,
            'mode': 'live',
            'questions': fingerprint(benchmark, asking),
            'prompt': asking.template or benchmark.template,
            'rate': args.rate,
            'version': __version__,
            **more,
            **replay.settings(),
        }
        with RunFolder(args.out, settings):
            with progress_bar() as progress:
                outcome, live = evaluate_live(
                    benchmark,
                    replay,
                    args.out,
                    template=args.prompt,
                    timeout_s=args.timeout,
                    progress=progress,
                )
            return conclude(benchmark, outcome, args, settings, judging, live)
