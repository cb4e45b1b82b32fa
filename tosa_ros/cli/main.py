"""`tosa`: finds the command, runs it, and turns every user error into one line and code 2."""

from __future__ import annotations

import argparse
import importlib
import sys
import warnings

from tosa_ros import __version__
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
    'compare',
    'replay',
    'bag',
    'world',
    'train',
)


def main(argv: list[str] | None = None) -> int:
    """Runs `tosa ARGS` and returns its exit code: 0, 2 for the user's mistake, 130 for Ctrl-C."""
    args = build_parser().parse_args(argv)
    warnings.showwarning = _one_line_warning
    try:
        return args.run(args) or 0
    except TosaError as error:
        if args.debug:
            raise
        print(f'tosa {args.command}: error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command; each lives in its own module of `tosa_ros.cli`."""
    parser = argparse.ArgumentParser(
        prog='tosa', description='Ask a robot about what it sees; look at how tokens merge.'
    )
    parser.add_argument('--version', action='version', version=f'tosa_ros {__version__}')
    subparsers = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for name in COMMANDS:
        importlib.import_module(f'tosa_ros.cli.{name}').add_parser(subparsers)
    for command in subparsers.choices.values():
        command.add_argument('--debug', action='store_true', help='show tracebacks of errors')
    return parser


def _one_line_warning(message: Warning | str, *rest: object) -> None:
    print(f'tosa: warning: {str(message).splitlines()[0]}', file=sys.stderr)


if __name__ == '__main__':
    sys.exit(main())
