"""`tosa bag`: OpenEQA folders to bags and back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from tosa_ros.cli import console
from tosa_ros.cli.parsing import refuse
from tosa_ros.cli.replay import add_topic_options, check_depth_options, topics_from

EPILOG = """examples:
  tosa bag from-episode frames/kitchen --out kitchen_bag
  tosa bag to-episode kitchen_bag --out kitchen --every 5"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'bag', help='convert folders of frames to bags and back', epilog=EPILOG
    )
    below = parser.add_subparsers(dest='direction', required=True, metavar='DIRECTION')
    one = below.add_parser(
        'from-episode', help='convert a folder of frames to a bag', epilog=EPILOG
    )
    _add_ends(one, 'FOLDER', 'units of its depth files per metre (1000)')
    one.add_argument(
        '--storage', choices=('mcap', 'sqlite3'), default='mcap', help='storage of the bag (mcap)'
    )
    one.add_argument(
        '--format',
        choices=('raw', 'png', 'jpeg'),
        default='raw',
        help='format of the images; jpeg loses colour, png loses nothing (raw)',
    )
    one.add_argument(
        '--rate',
        type=float,
        default=1.0,
        metavar='HZ',
        help='frames per second if the folder has no stamps (1)',
    )
    one.set_defaults(run=_from_episode)
    other = below.add_parser(
        'to-episode', help='convert a bag to a folder of frames', epilog=EPILOG
    )
    _add_ends(other, 'BAG', "units of the written depth files per metre (the bag's own)")
    other.add_argument('--every', type=int, default=1, metavar='N', help='every Nth image (1)')
    add_topic_options(other)
    other.set_defaults(run=_to_episode)


def _add_ends(parser: argparse.ArgumentParser, source: str, scale: str) -> None:
    parser.add_argument('source', type=Path, metavar=source, help='the folder or bag to convert')
    parser.add_argument(
        '--out', type=Path, required=True, metavar='PATH', help='path to write to; must not exist'
    )
    parser.add_argument('--depth-scale', type=float, metavar='N', help=scale)


def _from_episode(args: argparse.Namespace) -> int:
    from tosa_ros.sources import MILLIMETRES, read_folder
    from tosa_ros.sources.bags import folder_to_bag
    from tosa_ros.sources.bags.from_folder import STAMPS

    folder = read_folder(args.source)
    if (args.source / STAMPS).is_file():
        refuse(args, f'changes nothing: the stamps are in {STAMPS}', '--rate')
    if folder.missing_depth == len(folder):
        refuse(args, f'changes nothing: {args.source} has no depth files', '--depth-scale')
    scale = MILLIMETRES if args.depth_scale is None else args.depth_scale
    with console.counter('frame') as progress:
        count = folder_to_bag(
            read_folder(args.source, depth_scale=scale),
            args.out,
            storage=args.storage,
            image_format=args.format,
            rate_hz=args.rate,
            progress=progress,
        )
    print(f'{args.out}: {count} frames')
    return 0


def _to_episode(args: argparse.Namespace) -> int:
    from tosa_ros.sources.bags import BagFrames, bag_to_folder

    frames = BagFrames(args.source, topics_from(args), args.slop)
    check_depth_options(args, frames)
    before = list(frames.notes)
    _print(before)
    with console.counter('frame') as progress:
        count = bag_to_folder(
            frames, args.out, every=args.every, depth_scale=args.depth_scale, progress=progress
        )
    _print(note for note in frames.notes if note not in before)
    print(f'{args.out}: {count} frames')
    return 0


def _print(notes: Iterable[str]) -> None:
    for note in notes:
        print(f'tosa bag: {note}', file=sys.stderr)
