"""Files: read with errors that name them, written whole or not at all.

New contents stay in a temporary file or folder beside its place until they are complete, and
takes its place in one step: a reader sees the old one or the new one, also after a crash.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tosa_ros.errors import DataError, TosaError, printable

PARTIAL = '.partial-'  # in the names of what is not whole yet, which begin with a dot


def read_text(path: Path, error: type[TosaError] = DataError) -> str:
    """A text file's contents, its lines ended by \\n: the one way in which text is read.

    UTF-8, UTF-16 or UTF-32, with or without a byte order mark, as editors and spreadsheets on
    other systems write them; line ends of any system.

    Raises:
        error: the file is missing, cannot be read, or is not such text.
    """
    try:
        data = path.read_bytes()
        # The mark, or where the first characters have zeros, says which; ASCII comes first.
        text = data.decode(json.detect_encoding(data))
        return text.replace('\r\n', '\n').replace('\r', '\n')
    except FileNotFoundError as cause:
        raise error(f'{path}: no such file') from cause
    except UnicodeDecodeError as cause:
        raise error(f'{path}: cannot be read: not a text file in UTF-8 or UTF-16') from cause
    except OSError as cause:
        raise error(f'{path}: cannot be read: {cause.strerror}') from cause


def read_json(path: Path) -> Any:
    """The contents of a JSON file, or of a JSON Lines one (`.jsonl`, `.ndjson`) as a list.

    Raises:
        DataError: the file cannot be read, or is not JSON (where, by line and column).
    """
    text = read_text(path)
    if path.suffix.lower() not in ('.jsonl', '.ndjson'):
        return decoded_json(text, str(path))
    lines = enumerate(text.split('\n'), start=1)  # JSON may hold other line breaks
    return [decoded_json(line, f'{path}: line {n}') for n, line in lines if line.strip()]


@contextlib.contextmanager
def whole_file(path: Path, error: type[TosaError] = DataError) -> Iterator[Path]:
    """The path of a file to write, of the same kind (suffix), which becomes `path` at the end.

    If the block raises, or the file cannot be written, nothing of it stays and `path` is as
    before.

    Raises:
        error: an OSError while it is written or put into its place.
    """
    partial = path.parent / f'.{path.name}{PARTIAL}{secrets.token_hex(4)}{path.suffix}'
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
        workshop = Path(tempfile.mkdtemp(prefix=f'.{path.name}{PARTIAL}', dir=path.parent))
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
def whole_files(path: Path, error: type[TosaError] = DataError) -> Iterator[Path]:
    """As `whole_file`, where others may be written beside it, whose names begin with its stem.

    They are called by their own names meanwhile, in a folder, as they may name each other. What
    `path` names is put into its place last.
    """
    workshop = None
    try:
        workshop = Path(tempfile.mkdtemp(prefix=f'.{path.name}{PARTIAL}', dir=path.parent))
        yield workshop / path.name
        made = sorted(workshop.iterdir(), key=lambda file: file.name == path.name)
        for file in made:
            _to_disk(file)
        for file in made:
            os.replace(file, path.parent / file.name)
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
        raise DataError(f'{path}: already exists; name another --out or remove it')
    with whole_folder(path) as place:
        yield place


def write_bytes(path: Path, content: bytes, error: type[TosaError] = DataError) -> None:
    """Writes a file whole or not at all."""
    with whole_file(path, error) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str, error: type[TosaError] = DataError) -> None:
    """Writes UTF-8 text whole or not at all; halves of surrogate pairs as their numbers."""
    write_bytes(path, utf8(text), error)


def utf8(text: str) -> bytes:
    """Text as UTF-8, half a surrogate pair as \\ud800 and so on, which JSON reads as it was.

    Somebody's JSON may hold such halves; they are no reason to lose the work of a run.
    """
    return text.encode(errors='backslashreplace')


def write_json(path: Path, value: Any) -> None:
    """Writes JSON whole or not at all.

    Raises:
        DataError: the file cannot be written.
        ValueError: a number is not finite.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + '\n')


def cache_folder(name: str) -> Path:
    """$XDG_CACHE_HOME/tosa_ros/name, by default under ~/.cache; it need not be there."""
    root = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(root) / 'tosa_ros' / name


def remove_partials(folder: Path) -> None:
    """Removes what a process that was killed left half written in a folder that is ours alone."""
    for path in folder.glob(f'.*{PARTIAL}*'):
        with contextlib.suppress(OSError):
            path.unlink()


def append_only(path: Path) -> int:
    """A descriptor to append to a file, made with its folder if missing; never through a link.

    Raises:
        DataError: it is a link, or cannot be opened.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o666)
    except OSError as error:
        reason = 'it is a link' if error.errno == errno.ELOOP else error.strerror
        raise DataError(f'{path}: cannot be written to: {reason}') from error


def refuse_links(folder: Path) -> None:
    """Raises DataError if a folder from somebody holds anything but files and folders.

    A link in it would have us read, or write, what lies elsewhere; a pipe would have us wait.
    """
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(place, name)
            kind = path.lstat().st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
                what = 'a link' if stat.S_ISLNK(kind) else 'no file'
                raise DataError(f'{path}: is {what}; a run has only files and folders of its own')


def make_folder(path: Path) -> Path:
    """Makes a folder if there is none, and checks that files can be written into it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path, prefix=f'.probe{PARTIAL}').close()
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


def decoded_json(text: str, where: str) -> Any:
    """What JSON says.

    Raises:
        DataError: it is no JSON, or has a field of an object twice; `where` it stands is named.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """An object's fields, none of which may be lost to a later one of its name."""
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f'{where}: one object has {printable(repr(twice), 60)} twice')
        return found

    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise DataError(
            f'{where}: not JSON: {error.msg} at line {error.lineno}, column {error.colno}'
        ) from error
    except RecursionError as error:
        raise DataError(f'{where}: JSON nested too deeply to be read') from error
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f'{where}: JSON that cannot be read: {error}') from error
