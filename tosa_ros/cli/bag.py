"""`tosa bag`: what is in a bag; folders of frames to bags and back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from tosa_ros.cli import console, options
from tosa_ros.cli.frames import add_layout, add_rotate
from tosa_ros.cli.parsing import refuse
from tosa_ros.cli.replay import (
    add_depth_scale,
    add_topic_options,
    bag_from,
    refuse_scale_of_metres,
)
from tosa_ros.errors import printable

EPILOG = """examples:
  tosa bag info kitchen_bag
  tosa bag from-episode frames/kitchen --out kitchen_bag
  tosa bag to-episode kitchen_bag --out kitchen --every 5"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'bag', help='describe bags; convert folders of frames to bags and back', epilog=EPILOG
    )
    below = parser.add_subparsers(dest='direction', required=True, metavar='DIRECTION')
    info = below.add_parser(
        'info', help='list topics, and what is read as colour and depth and why', epilog=EPILOG
    )
    info.add_argument('source', type=Path, metavar='BAG', help='folder, .mcap, .db3 or .bag')
    add_topic_options(info)
    add_depth_scale(info)
    info.add_argument('--json', action='store_true', help='print one JSON object')
    info.set_defaults(run=_info)
    one = below.add_parser(
        'from-episode', help='convert a folder of frames to a bag', epilog=EPILOG
    )
    _add_ends(one, 'FOLDER')
    one.add_argument(
        '--depth-scale',
        type=float,
        metavar='N',
        help='units of its depth files per metre (as its layout has it)',
    )
    add_layout(one)
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
    _add_ends(other, 'BAG')
    add_depth_scale(other, ', or of the files written for depth in metres')
    other.add_argument('--every', type=int, default=1, metavar='N', help='every Nth image (1)')
    add_topic_options(other)
    other.set_defaults(run=_to_episode)


def _add_ends(parser: argparse.ArgumentParser, source: str) -> None:
    parser.add_argument('source', type=Path, metavar=source, help='the folder or bag to convert')
    parser.add_argument(
        '--out', type=Path, required=True, metavar='PATH', help='path to write to; must not exist'
    )
    add_rotate(parser)


def _info(args: argparse.Namespace) -> int:
    from tosa_ros.sources.bags import bag_info

    frames = bag_from(args, args.source)
    refuse_scale_of_metres(args, frames)
    found = bag_info(frames)
    if args.json:
        options.print_json(found)
        return 0
    print(f'{found["images"]} images in {found["seconds"]:.3f} s')
    for kind, topic in found['used'].items():
        print(printable(f'{kind}: {topic}', console.LONGEST_LINE))
    if found['depth_scale'] is not None:
        print(f'depth_scale: {found["depth_scale"]:g} units a metre')
    for topic, row in found['topics'].items():
        line = f'{topic}: {row["messages"]} {row["type"]}'
        print(f'  {printable(line, console.LONGEST_LINE)}')
    for note in found['notes']:
        print(printable(f'note: {note}', console.LONGEST_LINE))
    return 0


def _from_episode(args: argparse.Namespace) -> int:
    from tosa_ros.sources import read_folder
    from tosa_ros.sources.bags import folder_to_bag
    from tosa_ros.sources.bags.from_folder import has_stamps

    folder = read_folder(args.source, depth_scale=args.depth_scale, layout=args.layout)
    if has_stamps(folder):
        refuse(args, 'changes nothing: the folder has stamps of its own', '--rate')
    if folder.missing_depth == len(folder):
        refuse(args, f'changes nothing: {args.source} has no depth files', '--depth-scale')
    with console.counter('frame') as progress:
        count = folder_to_bag(
            folder,
            args.out,
            storage=args.storage,
            image_format=args.format,
            rate_hz=args.rate,
            rotate=args.rotate,
            progress=progress,
        )
    _print(folder.notes)
    print(f'{args.out}: {count} frames')
    return 0


def _to_episode(args: argparse.Namespace) -> int:
    from tosa_ros.sources import MILLIMETRES
    from tosa_ros.sources.bags import bag_to_folder

    frames = bag_from(args, args.source)
    before = list(frames.notes)
    _print(before)
    with console.counter('frame') as progress:
        count = bag_to_folder(
            frames,
            args.out,
            every=args.every,
            depth_scale=args.depth_scale,
            rotate=args.rotate,
            progress=progress,
        )
    _print(note for note in frames.notes if note not in before)
    scale = frames.depth_scale if args.depth_scale is None else args.depth_scale
    if scale != MILLIMETRES:
        _print(
            [f'its depth files have {scale:g} units a metre: --depth-scale {scale:g} reads them']
        )
    print(f'{args.out}: {count} frames')
    return 0


def _print(notes: Iterable[str]) -> None:
    for note in notes:
        print(f'tosa bag: {note}', file=sys.stderr)
