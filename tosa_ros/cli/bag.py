"""`tosa bag`: OpenEQA folders to bags and back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from tosa_ros.cli.replay import add_topic_options, topics_from

DIRECTIONS = ('from-episode', 'to-episode')


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser('bag', help='convert between episode folders and bags')
    parser.add_argument('direction', choices=DIRECTIONS)
    parser.add_argument('source', type=Path, metavar='FOLDER|BAG', help='what to convert')
    parser.add_argument('--out', type=Path, required=True, help='made; must not be there yet')
    parser.add_argument(
        '--depth-scale', type=float, metavar='N', help='units of the depth files per metre'
    )
    group = parser.add_argument_group('from-episode')
    group.add_argument('--storage', choices=('mcap', 'sqlite3'), default='mcap')
    group.add_argument(
        '--format',
        choices=('raw', 'png', 'jpeg'),
        default='raw',
        help='of the images; jpeg loses colour, png nothing (raw)',
    )
    group.add_argument(
        '--rate', type=float, default=1.0, metavar='HZ', help='where there are no stamps (1)'
    )
    group = parser.add_argument_group('to-episode')
    group.add_argument('--every', type=int, default=1, metavar='N', help='every Nth image (1)')
    add_topic_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from tosa_ros.evaluation.bags import BagFrames, bag_to_episode, episode_to_bag
    from tosa_ros.frame_folder import MILLIMETRES, read_folder

    if args.direction == 'from-episode':
        scale = MILLIMETRES if args.depth_scale is None else args.depth_scale
        count = episode_to_bag(
            read_folder(args.source, depth_scale=scale),
            args.out,
            storage=args.storage,
            image_format=args.format,
            rate_hz=args.rate,
            progress=_progress(),
        )
    else:
        frames = BagFrames(args.source, topics_from(args), args.slop)
        before = list(frames.notes)
        _print(before)
        count = bag_to_episode(
            frames,
            args.out,
            every=args.every,
            depth_scale=args.depth_scale,
            progress=_progress(),
        )
        _print(note for note in frames.notes if note not in before)
    print(f'{args.out}: {count} frames')
    return 0


def _print(notes: Iterable[str]) -> None:
    for note in notes:
        print(f'tosa bag: {note}', file=sys.stderr)


def _progress() -> Callable[[int, int], None]:
    from tqdm import tqdm

    bar = tqdm(delay=2, unit='frame', file=sys.stderr, leave=False)

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return show
