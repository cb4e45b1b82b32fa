"""`tosa camera`: colour, depth and camera_info on ROS topics, from the tiny world or from disk."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tosa_ros.cli import console
from tosa_ros.cli.frames import add_layout, add_rotate, check_scale
from tosa_ros.cli.parsing import refuse
from tosa_ros.errors import DataError
from tosa_ros.ros.session import ros_arguments, session
from tosa_ros.ros.shutdown import Shutdown

if TYPE_CHECKING:
    from tosa_ros.frames import Frame

WORLD_OPTIONS = ('--world', '--still', '--frames', '--size')
TOPICS = {
    'image_topic': 'image',
    'depth_topic': 'sensor_depth',
    'camera_info_topic': 'camera_info',
}


EPILOG = """examples:
  tosa camera
  tosa camera frames/kitchen --rate 5 --once"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'camera',
        help='publish frames on ROS topics as a camera does, until Ctrl-C',
        epilog=EPILOG,
    )
    parser.add_argument(
        'path',
        nargs='?',
        type=Path,
        help='a folder of frames, a bag or a video; without it the tiny world',
    )
    parser.add_argument(
        '--world', metavar='SPLIT:N', default='test:0', help='scene of the tiny world (test:0)'
    )
    parser.add_argument(
        '--still', action='store_true', help='one view of that scene instead of a walk'
    )
    parser.add_argument(
        '--frames', type=int, default=32, metavar='N', help='number of frames of the walk (32)'
    )
    parser.add_argument(
        '--size', type=int, default=128, metavar='PX', help='width of its images (128)'
    )
    parser.add_argument(
        '--depth-scale',
        type=float,
        metavar='N',
        help="units per metre of a folder's depth files or a bag's 16-bit depth",
    )
    add_layout(parser)
    add_rotate(parser)
    parser.add_argument(
        '--rate', type=float, default=10.0, metavar='HZ', help='frames per second (10)'
    )
    parser.add_argument(
        '--once',
        action='store_true',
        help='once through the frames, as soon as someone subscribes',
    )
    parser.add_argument(
        '--compressed', action='store_true', help='publish JPEG on image/compressed'
    )
    parser.add_argument('--namespace', default='', metavar='NS', help='namespace of the topics')
    parser.add_argument('--image-topic', metavar='TOPIC', help='topic of colour (image)')
    parser.add_argument('--depth-topic', metavar='TOPIC', help='topic of depth (sensor_depth)')
    parser.add_argument(
        '--camera-info-topic', metavar='TOPIC', help='topic of the calibration (camera_info)'
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if not 0 < args.rate <= 1000:
        raise DataError(f'--rate {args.rate:g}; wanted frames a second, above 0 and at most 1000')
    _check(args)
    frames = _frames(args)
    topics = {topic: getattr(args, option) for option, topic in TOPICS.items()}
    with session('tosa camera', ros_arguments(args.namespace, topics)):
        from tosa_ros.ros.camera_node import CameraNode

        shutdown = Shutdown()
        node = CameraNode(
            _turns(frames, args.once, args.rotate),
            args.rate,
            compressed=args.compressed,
            patient=args.once,
        )
        print(f'tosa camera: {len(frames)} frames at {args.rate:g} Hz (Ctrl-C ends)', flush=True)
        try:
            shutdown.spin(node, until=lambda: node.ended)
        finally:
            node.destroy_node()
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuses options that would change nothing."""
    if args.path is not None:
        refuse(args, f'is of the tiny world, not of {args.path}', *WORLD_OPTIONS)
    elif args.still:
        refuse(args, 'is of a walk; --still is one view', '--frames')
    if args.path is None:
        refuse(args, 'is for a folder of frames or a bag', '--depth-scale')
    if args.path is None or not args.path.is_dir():
        refuse(args, 'is for a folder of frames', '--layout')


def _frames(args: argparse.Namespace) -> Sequence[Frame]:
    if args.path is not None:
        from tosa_ros.sources import open_source

        if not args.path.exists():
            raise DataError(f'{args.path}: no such folder, bag or video')
        source = open_source(args.path, args.depth_scale, args.layout)
        check_scale(args, source, args.path)
        for line in source.notes:
            console.note(line)
        return source
    from tosa_ros.synthetic import episode, single

    split, _, number = args.world.partition(':')
    if not number.isdecimal():
        raise DataError(f'--world {args.world}; wanted a split and a number, as test:0')
    if args.still:
        return [single(split, int(number), size=args.size, questions=0).frame]
    return episode(split, int(number), frames=args.frames, size=args.size, questions=0).frames


def _turns(frames: Sequence[Frame], once: bool, rotate: int) -> Iterator[Frame]:
    turns = (0,) if once else itertools.count()
    return (frame.turned(rotate) for _ in turns for frame in frames)
