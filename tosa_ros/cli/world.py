"""`tosa world`: writes episodes of the tiny world in OpenEQA's layout, as ROS 2 bags, or both."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from tosa_ros.cli import console
from tosa_ros.cli.options import print_json
from tosa_ros.errors import DataError

FORMATS = ('openeqa', 'bag', 'both')
EPILOG = """example:
  tosa world --out world --split val --episodes 3 --format both"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'world',
        help='write episodes of the tiny world: RGB-D frames, poses and questions',
        epilog=EPILOG,
    )
    parser.add_argument(
        '--out', type=Path, required=True, metavar='DIR', help='folder to write to'
    )
    parser.add_argument('--split', default='test', help='train, val, test or unseen (test)')
    parser.add_argument(
        '--episodes', type=int, default=2, metavar='N', help='number of episodes (2)'
    )
    parser.add_argument(
        '--start', type=int, default=0, metavar='N', help='number of the first episode (0)'
    )
    parser.add_argument(
        '--frames', type=int, default=8, metavar='N', help='frames per episode (8)'
    )
    parser.add_argument('--size', type=int, default=128, metavar='PX', help='image width (128)')
    parser.add_argument(
        '--questions',
        type=int,
        metavar='N',
        help='at most N per episode; default: one of each type',
    )
    parser.add_argument(
        '--format', choices=FORMATS, default='openeqa', help='what to write (openeqa)'
    )
    parser.add_argument(
        '--noisy', action='store_true', help="depth with a real sensor's noise and holes"
    )
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from tosa_ros.files import new_folder
    from tosa_ros.sources import write_folder
    from tosa_ros.sources.bags import frames_to_bag
    from tosa_ros.synthetic import SensorModel, episode
    from tosa_ros.synthetic.writing import (
        episode_history,
        question_records,
        write_questions,
    )

    if args.episodes < 1:
        raise DataError(f'--episodes: {args.episodes}; wanted at least 1')
    if args.out.exists() and not args.out.is_dir():
        raise DataError(f'--out {args.out}: is a file; wanted a folder')
    questions_file = args.out / 'questions.json'
    if questions_file.exists():
        raise DataError(f'{questions_file}: already exists; name another --out or remove it')
    sensor = SensorModel() if args.noisy else None
    records, types = [], Counter()
    numbers = range(args.start, args.start + args.episodes)
    for index in console.progress(numbers, args.episodes, 'episodes'):
        made = episode(
            args.split,
            index,
            frames=args.frames,
            size=args.size,
            questions=args.questions,
            sensor=sensor,
        )
        history = episode_history(args.split, index)
        if args.format != 'bag':
            with new_folder(args.out / 'frames' / history) as place:
                write_folder(place, made.frames)
        if args.format != 'openeqa':
            frames_to_bag(args.out / 'bags' / history, made.frames)
        records += question_records(history, made)
        types.update(question.type for question in made.questions)
    write_questions(questions_file, records)
    _report(args, questions_file, records, types)
    return 0


def _report(
    args: argparse.Namespace, questions_file: Path, records: list[dict], types: Counter
) -> None:
    wrote = {
        'episodes': args.episodes,
        'frames': args.episodes * args.frames,
        'questions': len(records),
        'questions_file': str(questions_file),
        'frames_root': None if args.format == 'bag' else str(args.out / 'frames'),
        'bags_root': None if args.format == 'openeqa' else str(args.out / 'bags'),
        'categories': dict(Counter(record['category'] for record in records)),
        'types': dict(types),
    }
    if args.json:
        print_json(wrote)
        return
    print(f'{wrote["episodes"]} episodes, {wrote["frames"]} frames')
    print(f'questions  {questions_file}  ({len(records)}, OpenEQA schema)')
    for name in ('frames_root', 'bags_root'):
        if wrote[name]:
            print(f'{name.split("_")[0]:<10} {wrote[name]}')
