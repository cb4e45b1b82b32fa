"""`tosa bag`: OpenEQA folders to bags and back."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tosa_ros.cli.replay import add_topic_options, topics_from


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser('bag', help='convert between episode folders and bags')
    parts = parser.add_subparsers(dest='direction', required=True, metavar='DIRECTION')
    bag = parts.add_parser('from-episode', help='an OpenEQA folder to a bag')
    bag.add_argument('source', type=Path, metavar='FOLDER')
    bag.add_argument('--storage', choices=('mcap', 'sqlite3'), default='mcap')
    bag.add_argument(
        '--format',
        choices=('raw', 'png', 'jpeg'),
        default='raw',
        help='of the images; jpeg loses colour, png nothing (raw)',
    )
    bag.add_argument(
        '--rate', type=float, default=1.0, metavar='HZ', help='where there are no stamps (1)'
    )
    folder = parts.add_parser('to-episode', help='a bag to an OpenEQA folder')
    folder.add_argument('source', type=Path, metavar='BAG')
    folder.add_argument('--every', type=int, default=1, metavar='N', help='every Nth image (1)')
    add_topic_options(folder)
    for one in (bag, folder):
        one.add_argument('--out', type=Path, required=True, help='made; must not be there yet')
        one.add_argument(
            '--depth-scale', type=float, metavar='N', help='units of the depth files per metre'
        )
        one.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from tosa_ros.evaluation.bags import BagFrames, bag_to_episode, episode_to_bag
    from tosa_ros.frame_folder import MILLIMETRES, read_folder

    if args.direction == 'from-episode':
        count = episode_to_bag(
            read_folder(args.source, depth_scale=args.depth_scale or MILLIMETRES),
            args.out,
            storage=args.storage,
            image_format=args.format,
            rate_hz=args.rate,
            progress=_progress(),
        )
    else:
        frames = BagFrames(args.source, topics_from(args), args.slop)
        for note in frames.notes:
            print(f'tosa bag: {note}', file=sys.stderr)
        count = bag_to_episode(
            frames,
            args.out,
            every=args.every,
            depth_scale=args.depth_scale,
            progress=_progress(),
        )
    print(f'{args.out}: {count} frames')
    return 0


def _progress():
    from tqdm import tqdm

    bar = tqdm(delay=2, unit='frame', file=sys.stderr, leave=False)

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return show
