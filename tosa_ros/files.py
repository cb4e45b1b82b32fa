"""Files: read as text or JSON with errors that name them, written whole or not at all.

What is written stands in a temporary file or folder beside its place until it is complete, and
takes its place in one step: a reader sees the old one or the new one, also after a crash.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tosa_ros.errors import DataError, TosaError


def read_text(path: Path, error: type[TosaError] = DataError) -> str:
    """A UTF-8 text file's contents.

    Raises:
        error: the file is missing, cannot be read, or is no UTF-8 text.
    """
    try:
        return path.read_text('utf-8')
    except FileNotFoundError as cause:
        raise error(f'{path}: no such file') from cause
    except UnicodeDecodeError as cause:
        raise error(f'{path}: cannot be read: not a text file in UTF-8') from cause
    except OSError as cause:
        raise error(f'{path}: cannot be read: {cause.strerror}') from cause


def read_json(path: Path) -> Any:
    """The contents of a JSON file, or of a JSON Lines one (`.jsonl`) as a list.

    Raises:
        DataError: the file cannot be read, or is not JSON (where, by line and column).
    """
    text = read_text(path)
    if path.suffix != '.jsonl':
        return _decoded(text, str(path))
    lines = enumerate(text.split('\n'), start=1)  # JSON may hold other line breaks
    return [_decoded(line, f'{path}: line {n}') for n, line in lines if line.strip()]


@contextlib.contextmanager
def whole_file(path: Path, error: type[TosaError] = DataError) -> Iterator[Path]:
    """The path of a file to write, of the same kind (suffix), which becomes `path` at the end.

    If the block raises, or the file cannot be written, nothing of it stays and `path` is as
    before.

    Raises:
        error: an OSError while it is written or put into its place.
    """
    partial = path.parent / f'.{path.name}.partial-{secrets.token_hex(4)}{path.suffix}'
    try:
        yield partial
        _to_disk(partial)
        os.replace(partial, path)
    except OSError as cause:
        raise error(f'{path}: cannot be written: {cause.strerror or cause}') from cause
    finally:
        with contextlib.suppress(OSError):  # e.g. the folder does not exist
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(
    path: Path, error: type[TosaError] = DataError, *, over: bool = False
) -> Iterator[Path]:
    """The path of a folder to make, which becomes `path` at the end.

    If the block raises, or something cannot be written, nothing of it stays and `path` is as
    before.

    over: a folder that is there at the end is replaced.

    Raises:
        error: an OSError while it is written or put into its place; without `over`, also if
            something is there.
    """
    workshop = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        workshop = Path(tempfile.mkdtemp(prefix=f'.{path.name}.partial-', dir=path.parent))
        yield workshop / path.name
        for file in (workshop / path.name).rglob('*'):
            if file.is_file():
                _to_disk(file)
        if over and path.exists():
            os.replace(path, workshop / 'before')
        os.replace(workshop / path.name, path)
    except OSError as cause:
        raise error(f'{path}: cannot be written: {cause.strerror or cause}') from cause
    finally:
        if workshop is not None:
            shutil.rmtree(workshop, ignore_errors=True)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """As `whole_folder`, where nothing may be yet.

    Raises:
        DataError: something is there, or the folder cannot be written.
    """
    if path.exists():
        raise DataError(f'{path}: is there already; name another --out or remove it')
    with whole_folder(path) as place:
        yield place


def write_bytes(path: Path, content: bytes, error: type[TosaError] = DataError) -> None:
    """Writes a file whole or not at all."""
    with whole_file(path, error) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str, error: type[TosaError] = DataError) -> None:
    """Writes UTF-8 text whole or not at all."""
    write_bytes(path, text.encode(), error)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON whole or not at all.

    Raises:
        DataError: the file cannot be written.
        ValueError: a number is not finite.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + '\n')


def make_folder(path: Path) -> Path:
    """Makes a folder where there is none, and tries that files can be written into it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise DataError(
            f'{path}: cannot be written to as a folder: {error.strerror}; name another one'
        ) from error
    return path


def _to_disk(path: Path) -> None:
    """Waits until a file's contents are on the disk, so that its name never comes before them."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _decoded(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f'{where}: not JSON: {error.msg} at line {error.lineno}, column {error.colno}'
        ) from error
