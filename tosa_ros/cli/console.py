"""What commands say beside their results: notes, details and progress, all on standard error."""

from __future__ import annotations

import argparse
import contextlib
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tosa_ros.errors import printable

QUIET, NORMAL, VERBOSE = range(3)
LONGEST_LINE = 4000  # characters; people's own paths and questions are in it
_level = NORMAL


def add_options(parser: argparse.ArgumentParser) -> None:
    """-v, -q and --debug."""
    group = parser.add_argument_group('messages')
    either = group.add_mutually_exclusive_group()
    either.add_argument(
        '-v', '--verbose', action='store_true', help='also report devices, settings and times'
    )
    either.add_argument('-q', '--quiet', action='store_true', help='print only results and errors')
    group.add_argument('--debug', action='store_true', help='show tracebacks of errors')


def configure(args: argparse.Namespace) -> None:
    """Takes up those options."""
    global _level
    _level = QUIET if args.quiet else VERBOSE if args.verbose else NORMAL


def shorten_warnings() -> None:
    """Shows warnings in one line each."""
    warnings.showwarning = _show_warning
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):  # A replaced stream may lack this.
            stream.reconfigure(errors='backslashreplace')


def error(prog: str, reason: object) -> None:
    """Why a command failed, in one line."""
    print_line(f'{prog}: error: {reason}')


def print_line(line: str) -> None:
    """Prints one line on standard error, without terminal commands or line breaks in it."""
    print(printable(line, LONGEST_LINE), file=sys.stderr)


def note(line: str) -> None:
    """What the user should know; not with -q."""
    if _level > QUIET:
        print_line(f'tosa: {line}')


def detail(line: str) -> None:
    """What only -v shows."""
    if _level == VERBOSE:
        print_line(f'tosa: {line}')


def progress(items: Iterable | None, total: int | None, what: str = '', **more: Any) -> Any:
    """A tqdm progress bar, after two seconds; on a terminal only, and not with -q."""
    from tqdm import tqdm

    # None leaves it to tqdm, which looks whether there is a terminal.
    disable = True if _level == QUIET else None
    settings = {'desc': what or None, 'delay': 2, 'leave': False, **more}
    return tqdm(items, total=total, file=sys.stderr, disable=disable, **settings)


@contextlib.contextmanager
def counter(
    unit: str = 'answer', state: Callable[[], str] = lambda: ''
) -> Iterator[Callable[[int, int], None]]:
    """A function of (done, wanted) that shows rate and time left, of what this process does.

    state: what else there is to show.
    """
    bar: Any = None
    counted = 0

    def show(done: int, wanted: int) -> None:
        nonlocal bar, counted
        if bar is None or done < counted:
            bar = progress(None, wanted, initial=done, unit=unit, delay=0, leave=True)
        else:
            bar.set_postfix_str(state(), refresh=False)
            bar.update(done - counted)
        counted = done

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()


def _show_warning(message: Warning | str, category: type, *where: Any) -> None:
    note(f'warning: {message}'.splitlines()[0])
    if where:
        detail(f'  {category.__name__} at {where[0]}:{where[1]}')
