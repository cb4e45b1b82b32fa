"""`tosa`: finds the command, runs it, and turns every user error into one line and code 2."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time

from tosa_ros import __version__
from tosa_ros.cli import console
from tosa_ros.cli.parsing import Parser, UsageError
from tosa_ros.errors import TosaError

COMMANDS = (
    'ask',
    'view',
    'info',
    'demo',
    'up',
    'camera',
    'say',
    'eval',
    'merge',
    'score',
    'compare',
    'replay',
    'bag',
    'world',
    'train',
    'export',
)
EPILOG = """examples:
  tosa demo
  tosa ask desk.jpg "how many mugs are on the desk?" --model llava-hf/...
  tosa COMMAND --help"""


def main(argv: list[str] | None = None) -> int:
    """Runs `tosa ARGS` and returns its exit code: 0, 2 for the user's mistake, 130 for Ctrl-C."""
    words = sys.argv[1:] if argv is None else argv
    console.shorten_warnings()
    parser = build_parser(words[0] if words and words[0] in COMMANDS else None)
    _offer_completion(parser)
    if not words:
        parser.print_help()
        return 0
    try:
        args = parser.parse_args(words)
    except UsageError as error:
        console.error(error.prog, error)
        return 2
    console.configure(args)
    start = time.perf_counter()
    try:
        code = args.run(args) or 0
        console.detail(f'{args.command} took {time.perf_counter() - start:.2f} s')
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except (TosaError, OSError, MemoryError) as error:
        if args.debug:
            raise
        console.error(args.parser.prog, _reason(error))
        return 2


def _reason(error: Exception) -> str:
    """What a disk that is full, a folder that was removed and so on are called."""
    if isinstance(error, TosaError):
        return str(error)
    if isinstance(error, MemoryError):
        return f'out of memory: {error}' if str(error) else 'out of memory'
    name = getattr(error, 'filename', None)
    return f'{name}: {error.strerror}' if name and error.strerror else str(error)


def build_parser(only: str | None = None) -> Parser:
    """The parser of every command, or of one; each lives in its own module of `tosa_ros.cli`."""
    parser = Parser(
        prog='tosa',
        description='Ask a robot about what it sees; look at how tokens merge.',
        epilog=EPILOG,
    )
    parser.add_argument('--version', action='version', version=f'tosa_ros {__version__}')
    subparsers = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for name in COMMANDS if only is None else (only,):
        importlib.import_module(f'tosa_ros.cli.{name}').add_parser(subparsers)
    for leaf in leaves(parser):
        console.add_options(leaf)
    return parser


def leaves(parser: argparse.ArgumentParser) -> list[Parser]:
    """The parsers that have no subcommands below them."""
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not below:
        return [parser]
    return [leaf for action in below for one in action.choices.values() for leaf in leaves(one)]


def _offer_completion(parser: Parser) -> None:
    """Answers the shell, when it asks for completions, if argcomplete is installed."""
    if '_ARGCOMPLETE' in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)


if __name__ == '__main__':
    sys.exit(main())
