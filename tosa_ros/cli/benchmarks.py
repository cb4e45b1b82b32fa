"""Benchmarks as words of a command: a parser each, and the questions that its options choose."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tosa_ros.evaluation.questions import Benchmark

# Adds one benchmark's parser.
Add = Callable[[argparse._SubParsersAction, str, 'type[Benchmark]'], None]


def add_benchmarks(parser: argparse.ArgumentParser, add: Add) -> None:
    """A parser for each benchmark below a command's own."""
    from tosa_ros.evaluation.benchmarks import BENCHMARKS

    below = parser.add_subparsers(dest='benchmark', required=True, metavar='BENCHMARK')
    for name, reader in BENCHMARKS.loaded().items():
        add(below, name, reader)


def example(template: str, name: str, reader: type[Benchmark]) -> str:
    """A command's example for a benchmark; `{files}` is what its questions are read from."""
    takes = inspect.signature(reader.load).parameters
    return template.format(name=name, files='--data FILE ' if 'data' in takes else '')


def load_options(args: argparse.Namespace) -> dict[str, Any]:
    """What the chosen benchmark's `load` takes, by name; None where it is not given."""
    wanted = inspect.signature(args.reader.load).parameters
    return {name: getattr(args, name, None) for name in wanted}


def load_questions(args: argparse.Namespace) -> Benchmark:
    """The chosen benchmark with its questions."""
    from tosa_ros.fetching import Url, local

    given = {name: one for name, one in load_options(args).items() if one is not None}
    here = {n: local(one) if isinstance(one, Path | Url) else one for n, one in given.items()}
    return args.reader.load(**here)


def questions_of(args: argparse.Namespace) -> tuple[Benchmark, dict[str, Any]]:
    """The chosen benchmark with its questions, and the settings of a run that it brings."""
    from tosa_ros.evaluation.questions import QUESTION_FILES

    benchmark = load_questions(args)
    # Questions are known by what is in their files, wherever those are.
    given = load_options(args)
    return benchmark, {n: _setting(one) for n, one in given.items() if n not in QUESTION_FILES}


def _setting(value: Any) -> Any:
    return str(value.resolve()) if isinstance(value, Path) else value
