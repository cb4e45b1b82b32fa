"""`tosa replay`: questions about a bag, answered by reading it."""

from __future__ import annotations

import argparse
from pathlib import Path

from tosa_ros.cli.eval import add_run_options, run_benchmark
from tosa_ros.errors import DataError


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser('replay', help='ask questions about a bag')
    parser.add_argument('bag', type=Path, metavar='BAG', help='folder, .mcap, .db3 or .bag')
    parser.add_argument(
        '--questions', type=Path, required=True, metavar='Q.json', help='list or JSON Lines'
    )
    parser.add_argument(
        '--offline', action='store_true', help='read the bag and call the model; no ROS runs'
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

    if not args.offline:
        raise DataError('a mode is missing: --offline reads the bag and calls the model')
    bag = BagFrames(args.bag, topics_from(args), args.slop)
    benchmark = BagQuestions.load(args.questions, bag)
    for note in bag.notes:
        benchmark.note(note)
    names = vars(bag.topics)
    return run_benchmark(benchmark, args, {'bag': args.bag.name, 'slop_s': args.slop, **names})
