"""`tosa say`: asks the running graph a question and prints the answer as it grows."""

from __future__ import annotations

import argparse
import contextlib

from tosa_ros.cli import console
from tosa_ros.errors import QuestionError, plain_text, printable
from tosa_ros.ros.session import ros_arguments, session

EPILOG = """example:
  tosa say "how many red boxes are there?" """


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'say', help='ask the running ROS 2 nodes a question', epilog=EPILOG
    )
    parser.add_argument('question', help='in quotes')
    parser.add_argument(
        '--timeout',
        type=float,
        default=60.0,
        metavar='S',
        help='longest wait for the answer, seconds (60)',
    )
    parser.add_argument('--namespace', default='', metavar='NS', help='namespace of the nodes')
    parser.add_argument('--json', action='store_true', help='print the whole reply')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from tosa_ros.cli.options import print_json

    def grown(piece: str) -> None:
        if not args.json:
            print(plain_text(piece), end='', flush=True)

    with session('tosa say', ros_arguments(args.namespace)):
        from tosa_ros.ros.asker import Asker

        with contextlib.closing(Asker()) as asker:
            reply = asker.ask(args.question, args.timeout, grown)
    if args.json:
        print_json(reply)
    else:
        print()
    if reply['error']:
        raise QuestionError(printable(reply['error']))
    if not args.json:
        console.note(_summary(reply))
    return 0


def _summary(reply: dict) -> str:
    """What the answer is about and what it took, in one line."""
    frames = 'frame' if reply['frames'] == 1 else 'frames'
    note = f'; {printable(reply["note"])}' if reply['note'] else ''
    spatial = printable(reply['spatial'])
    return (
        f'{reply["frames"]} {frames}, {reply["tokens"]} tokens (spatial: {spatial}); '
        f'first word after {reply["first_word_ms"] or 0:.0f} ms, all after '
        f'{reply["latency_ms"]:.0f} ms{note}'
    )
