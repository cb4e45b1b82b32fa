"""Names of files as people's tools write them: in any case, numbers with or without zeros."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tosa_ros.errors import FrameError


def natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """A key that puts names in order, numbers in them by their value: 2 before 10."""
    parts = re.split(r'(\d+)', name)
    return [(int(part), '') if part.isdecimal() else (-1, part) for part in parts], name


def files_in(folder: Path, endings: Sequence[str]) -> list[Path]:
    """The files with these endings (lower case; in any case on disk), in natural order.

    Hidden files are none, such as macOS's ._*; a folder that is not there has none.
    """
    if not folder.is_dir():
        return []
    found = [
        file
        for file in folder.iterdir()
        if file.name.lower().endswith(tuple(endings)) and not file.name.startswith('.')
    ]
    return sorted(found, key=lambda file: natural(file.name))


def by_stem(files: Iterable[Path], endings: Sequence[str], what: str) -> dict[str, Path]:
    """Files by their names without these endings, in their order.

    Raises:
        FrameError: two files of one name; `what` says of which kind.
    """
    found: dict[str, Path] = {}
    for file in files:
        stem = stem_of(file.name, endings)
        if stem in found:
            raise FrameError(f'{file.parent}: frame {stem} has two {what}s; take one away')
        found[stem] = file
    return found


def stem_of(name: str, endings: Sequence[str]) -> str:
    """A name without the first of these endings (lower case) that it has in any case."""
    for ending in endings:
        if name.lower().endswith(ending):
            return name[: len(name) - len(ending)]
    return name
