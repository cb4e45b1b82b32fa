"""Opens bags: ROS 1 and 2, sqlite3 and mcap, complete or truncated, compressed or not."""

from __future__ import annotations

import contextlib
import shutil
import struct
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tosa_ros.errors import DataError, MissingDependencyError
from tosa_ros.sources.bags.bounded import bound_decompression
from tosa_ros.sources.bags.mcap_files import read_any_mcap
from tosa_ros.sources.bags.salvage import salvage
from tosa_ros.sources.bags.sealed import sealed
from tosa_ros.sources.bags.stand_ins import (
    ZSTD,
    has_log,
    listed_files,
    needs_stand_in,
    stand_in,
    stand_in_folder,
)

BAG_SUFFIXES = (
    '.mcap', '.db3', '.bag', '.mcap.zstd', '.db3.zstd', '.mcap.zst', '.db3.zst',
)  # fmt: skip
_LONGEST_REASON = 200


class Bag:
    """A bag's folder or file, to be opened as often as needed.

    notes: faults of a bag that is readable in spite of them.

    Raises:
        DataError: no such bag, or one that cannot be read at all.
        MissingDependencyError: rosbags is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: Counter[str] = Counter()
        if not path.exists():
            raise DataError(f'{path}: no such bag')
        self._clear: weakref.finalize | None = None
        try:
            self._sources = self._readable()
        except BaseException:
            if self._clear is not None:
                self._clear()
            raise

    @contextlib.contextmanager
    def opened(self) -> Iterator[Any]:
        """A BagReader, open inside the `with`."""
        reader = _reader(self._sources, self.notes)
        try:
            yield reader
        finally:
            reader.close()

    def _readable(self) -> Sequence[Any]:
        """The paths for rosbags: the bag, its files, or what stands in for them."""
        files = self._files()
        if not files:
            raise DataError(
                f'{self.path}: not a bag; wanted metadata.yaml, or a file that ends in '
                f'{", ".join(BAG_SUFFIXES)}'
            )
        folder: Path | None = self.path if (self.path / 'metadata.yaml').is_file() else None
        logged = any(map(has_log, files))
        if any(map(needs_stand_in, files)):
            room = self._room('whole')
            files = [stand_in(file, room, self.notes) for file in files]
            if folder is not None:
                folder = room if stand_in_folder(folder, files, room, logged=logged) else None
        elif folder is not None:
            self._note_unlisted(folder, files)
        if folder is not None and _fault_of([folder]) is None:
            return [folder]
        fault = _fault_of(files)
        if fault is None:
            if self.path.is_dir() and not logged:
                self.notes[f'{self.path}: metadata.yaml is missing or wrong; read without it'] = 1
            return files
        saved = [salvage(file, self._room('saved')) for file in files]
        if saved == files or _fault_of(saved) is not None:
            raise DataError(f'{self.path}: cannot be read as a bag: {in_words(fault)}')
        self.notes[f'{self.path}: is cut off; the part before is used'] = 1
        return saved

    def _files(self) -> list[Path]:
        if self.path.is_file():
            return [self.path]
        files = sorted(file for file in self.path.iterdir() if is_bag_file(file))
        names = {file.name for file in files}
        # A recorder that was stopped while it compressed leaves both.
        return [f for f in files if f.suffix not in ZSTD or f.stem not in names]

    def _note_unlisted(self, folder: Path, files: Sequence[Path]) -> None:
        listed = listed_files(folder)
        unlisted = [file.name for file in files if file.name not in listed]
        if listed and unlisted:
            self.notes[
                f'{folder}: {", ".join(unlisted)} is not in metadata.yaml and is left out; open '
                'it by its own path'
            ] = 1

    def _room(self, name: str) -> Path:
        """A new folder for copies, which is removed with this object, or when the process ends."""
        if self._clear is None:
            self._workshop = Path(tempfile.mkdtemp(prefix='tosa-bag-'))
            self._clear = weakref.finalize(self, shutil.rmtree, self._workshop, True)
        room = self._workshop / name
        room.mkdir(exist_ok=True)
        return room


def is_bag_file(path: Path) -> bool:
    """Whether a file's name is one of a bag's files."""
    return path.name.endswith(BAG_SUFFIXES)


def _reader(sources: Sequence[Any], notes: Counter[str]) -> Any:
    try:
        from tosa_ros.sources.bags.reader import BagReader
    except ImportError as error:
        raise MissingDependencyError('rosbags', 'eval', 'reading a bag') from error
    bound_decompression()
    read_any_mcap()
    reader = BagReader(sources, notes)
    with sealed():
        reader.open()
    return reader


def _fault_of(sources: Sequence[Any]) -> Exception | None:
    """Why these cannot be opened, or None."""
    try:
        _reader(sources, Counter()).close()
    except MissingDependencyError:
        raise
    except damage_errors() as error:
        return error
    return None


def in_words(error: Exception) -> str:
    """A reader's error in one line: some quote whole message definitions."""
    text = ' '.join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 3] + '...'


def damage_errors() -> tuple[type[Exception], ...]:
    """The errors that a damaged bag may raise."""
    import apsw
    from rosbags.highlevel import AnyReaderError
    from rosbags.rosbag1 import ReaderError as Rosbag1Error
    from rosbags.rosbag2 import ReaderError as Rosbag2Error
    from rosbags.serde import SerdeError

    # A cut or flipped byte shows itself as any of the last ones in a decompressor or a struct.
    return (
        AnyReaderError,
        Rosbag1Error,
        Rosbag2Error,
        SerdeError,
        apsw.Error,
        OSError,
        RuntimeError,
        AssertionError,
        ValueError,
        TypeError,
        LookupError,
        OverflowError,
        MemoryError,
        struct.error,
    )
