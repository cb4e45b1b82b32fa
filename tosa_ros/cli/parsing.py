"""The parser of every command: one-line errors that say what was meant, and no abbreviations."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from tosa_ros.errors import TosaError


class UsageError(TosaError):
    """A command line that makes no sense: an option unknown, missing, or without an effect."""

    prog: str | None = None  # the command, where the parser found the mistake


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are UsageErrors.

    Its namespaces have `given`, the options that stand on the command line, `argv`, all of that
    line, and `parser`, the command's own parser.

    loose: where words go that stand between or after options, where a command takes any number.
    """

    loose: str | None = None

    def __init__(self, *args: Any, **more: Any) -> None:
        more.setdefault('allow_abbrev', False)
        more.setdefault('formatter_class', argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **more)
        self.set_defaults(parser=self)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        words = sys.argv[1:] if args is None else list(args)
        parsed, unknown = self.parse_known_args(words, namespace)
        loose = parsed.parser.loose
        if loose and not any(word.startswith('-') for word in unknown):
            setattr(parsed, loose, [*getattr(parsed, loose), *unknown])
        elif unknown:
            parsed.parser.error(_unknown(unknown[0], parsed.parser))
        options = words[: words.index('--')] if '--' in words else words
        parsed.argv = words
        parsed.given = frozenset(w.partition('=')[0] for w in options if w.startswith('-'))
        return parsed

    def error(self, message: str) -> NoReturn:
        error = UsageError(message)
        error.prog = self.prog
        raise error

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """argparse's own check of choices, with its message made readable."""
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        hint = _like(str(value), known) or f'; wanted one of {", ".join(known)}'
        raise argparse.ArgumentError(action, f'{value!r} is unknown{hint}')


def option_strings(parser: argparse.ArgumentParser) -> list[str]:
    """Every option that a parser takes."""
    return [option for action in parser._actions for option in action.option_strings]


def refuse(args: argparse.Namespace, why: str, *options: str) -> None:
    """Raises UsageError if one of these options is on the command line."""
    for option in options:
        if option in args.given:
            raise UsageError(f'{option} {why}')


def need(args: argparse.Namespace, option: str, *needed: str) -> None:
    """Raises UsageError if an option is on the command line, and none of those it goes with."""
    if option in args.given and not args.given.intersection(needed):
        raise UsageError(f'{option} needs {" or ".join(needed)}')


def _unknown(word: str, parser: Parser) -> str:
    if not word.startswith('-'):
        return f'{word!r} is one argument too many; see {parser.prog} --help'
    option = word.partition('=')[0]
    hint = _like(option, option_strings(parser)) or f'; see {parser.prog} --help'
    return f'there is no option {option}{hint}'


def _like(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.7)
    longer = sorted((one for one in known if len(word) > 3 and one.startswith(word)), key=len)
    found = longer[:1] or close
    return f'; did you mean {found[0]}?' if found else ''
