"""`tosa replay`: questions about a bag, answered by reading it or by the nodes it is played to."""

from __future__ import annotations

import argparse
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tosa_ros import __version__
from tosa_ros.cli import console, running
from tosa_ros.cli.judging import judging_from
from tosa_ros.cli.parsing import option_strings, refuse
from tosa_ros.ros.cameras import camera_choices, recorded_topics
from tosa_ros.settings import SYNC_SLOP

if TYPE_CHECKING:
    from tosa_ros.evaluation.replay import BagQuestions
    from tosa_ros.sources.bags import BagFrames

EPILOG = """examples:
  tosa replay kitchen_bag --questions q.json --offline --out runs/kitchen
  tosa replay kitchen_bag --questions q.json --live --rate 1 --out runs/live"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    from tosa_ros.evaluation.replay import BagQuestions

    parser = subparsers.add_parser('replay', help='ask questions about a bag', epilog=EPILOG)
    parser.add_argument('bag', type=Path, metavar='BAG', help='folder, .mcap, .db3 or .bag')
    parser.add_argument(
        '--questions',
        type=Path,
        required=True,
        metavar='Q.json',
        help='questions: a JSON list or JSON Lines',
    )
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument(
        '--offline', action='store_true', help='read the bag and call the model, without ROS'
    )
    mode.add_argument(
        '--live', action='store_true', help='play the bag to the running nodes and ask them'
    )
    add_topic_options(parser)
    running.add_report_options(parser, judged=True)
    shared = set(option_strings(parser))
    group = parser.add_argument_group('live')
    group.add_argument('--rate', type=float, default=1.0, metavar='X', help='playback speed (1)')
    group.add_argument('--namespace', default='', metavar='NS', help='namespace of the nodes')
    group.add_argument(
        '--timeout',
        type=float,
        default=60.0,
        metavar='S',
        help='longest wait for an answer, seconds (60)',
    )
    live = set(option_strings(parser)) - shared
    running.add_model_and_asking_options(parser, BagQuestions.defaults)
    add_depth_scale(parser)
    offline = set(option_strings(parser)) - shared - live
    parser.set_defaults(run=run, only_live=live, only_offline=offline)


def add_topic_options(parser: argparse.ArgumentParser) -> None:
    """Names of topics; without them they are found by their types."""
    group = parser.add_argument_group("topics; 'none' leaves one out")
    group.add_argument(
        '--camera',
        metavar='C',
        help='its topics and slop, of config/cameras.yaml or FILE.yaml:NAME (none)',
    )
    for name in ('image', 'depth', 'camera-info', 'depth-camera-info', 'pose'):
        group.add_argument(
            f'--{name}-topic', metavar='T', help=f'{name.replace("-", " ")} (found by its type)'
        )
    group.add_argument(
        '--slop',
        type=float,
        metavar='S',
        help=f'largest difference of stamps between colour and depth ({SYNC_SLOP.default:g} s)',
    )


def add_depth_scale(parser: argparse.ArgumentParser, more: str = '') -> None:
    parser.add_argument(
        '--depth-scale',
        type=float,
        metavar='N',
        help=f"units per metre of the bag's 16-bit depth (1000, or as recorded){more}",
    )


def topics_from(args: argparse.Namespace):
    """The BagTopics that the options name."""
    from tosa_ros.sources.bags import BagTopics

    named = {
        'image': args.image_topic,
        'depth': args.depth_topic,
        'camera_info': args.camera_info_topic,
        'depth_camera_info': args.depth_camera_info_topic,
        'pose': args.pose_topic,
    }
    given = {name: topic for name, topic in named.items() if topic is not None}
    return BagTopics(**{**recorded_topics(_of_camera(args)), **given})


def slop_from(args: argparse.Namespace) -> float:
    """The largest difference of stamps that the options name."""
    if args.slop is not None:
        return args.slop
    return _of_camera(args).get(SYNC_SLOP.name, SYNC_SLOP.default)


def _of_camera(args: argparse.Namespace) -> dict[str, Any]:
    return camera_choices(args.camera) if args.camera else {}


def bag_from(args: argparse.Namespace, path: Path) -> BagFrames:
    """A bag as the options say it is; what they say of depth is refused where it has none."""
    from tosa_ros.sources.bags import BagFrames
    from tosa_ros.sources.bags.topics import NONE

    bag = BagFrames(path, topics_from(args), slop_from(args), args.depth_scale)
    if bag.topics.depth == NONE:
        names = ('--slop', '--depth-camera-info-topic', '--depth-scale')
        refuse(args, 'changes nothing: no depth is read from the bag', *names)
    return bag


def refuse_scale_of_metres(args: argparse.Namespace, bag: BagFrames) -> None:
    if bag.depth_is_metric:
        refuse(args, f'changes nothing: {bag.topics.depth} is in metres', '--depth-scale')


def run(args: argparse.Namespace) -> int:
    from tosa_ros.evaluation.replay import BagQuestions

    if args.live:
        refuse(args, 'is for --offline: the nodes see the bag as it was recorded', '--rotate')
        why = 'is for --offline; of the running nodes it is a parameter'
        refuse(args, why, *args.only_offline)
        running.check_out(args)
    else:
        refuse(args, 'is for --live', *args.only_live)
    bag = bag_from(args, args.bag)
    refuse_scale_of_metres(args, bag)
    benchmark = BagQuestions.load(args.questions, bag)
    for note in bag.notes:
        benchmark.note(note)
    more = {'bag': args.bag.name, 'slop_s': slop_from(args), 'depth_scale': args.depth_scale}
    more |= {f'{name}_topic': topic for name, topic in vars(bag.topics).items()}
    if args.offline:
        return running.run_benchmark(benchmark, args, more)
    with _ros(args.namespace):
        return _run_live(benchmark, args, more)


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
    from tosa_ros.evaluation.asking import Asking
    from tosa_ros.evaluation.fingerprints import fingerprint
    from tosa_ros.evaluation.gallery import pictures
    from tosa_ros.evaluation.live import evaluate_live, played_types, recorded
    from tosa_ros.evaluation.report import check_plotting
    from tosa_ros.evaluation.run_folder import RunFolder
    from tosa_ros.ros.playback import LiveReplay

    check_plotting()
    judging, asking, bag = judging_from(args), Asking(template=args.prompt), benchmark.bag
    types = played_types(bag)
    with contextlib.closing(
        LiveReplay(types, recorded(bag), rate=args.rate, image=bag.topics.image)
    ) as replay:
        console.note('waiting for the nodes')
        settings = {
            'benchmark': benchmark.name,
            'mode': 'live',
            'questions': fingerprint(benchmark, asking.template),
            'prompt': asking.template or benchmark.template,
            'rate': args.rate,
            'version': __version__,
            **more,
            **replay.settings(),
        }
        with RunFolder(args.out, settings):
            with console.counter() as progress:
                outcome, live = evaluate_live(
                    benchmark,
                    replay,
                    args.out,
                    template=args.prompt,
                    timeout_s=args.timeout,
                    progress=progress,
                )
            return running.conclude(
                *(benchmark, outcome, args, settings, judging),
                lambda failures: pictures(benchmark, failures, asking),
                live=live,
            )
