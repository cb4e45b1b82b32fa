"""Opens bags: ROS 1 and 2, sqlite3 and mcap, complete or truncated."""

from __future__ import annotations

import contextlib
import struct
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tosa_ros.errors import DataError, MissingDependencyError
from tosa_ros.sources.bags.bounded import bound_decompression
from tosa_ros.sources.bags.salvage import salvage
from tosa_ros.sources.bags.sealed import sealed

BAG_SUFFIXES = ('.mcap', '.db3', '.bag')
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
        self._workshop: tempfile.TemporaryDirectory | None = None
        if not path.exists():
            raise DataError(f'{path}: no such bag')
        self._sources = self._readable()

    @contextlib.contextmanager
    def opened(self) -> Iterator[Any]:
        """A rosbags AnyReader, open inside the `with`."""
        reader = _reader(self._sources)
        try:
            yield reader
        finally:
            reader.close()

    def _readable(self) -> Sequence[Any]:
        """The paths for rosbags: the bag, its files, or their salvaged parts."""
        files = self._files()
        if not files:
            raise DataError(
                f'{self.path}: not a bag; wanted metadata.yaml, an .mcap or a .db3 file'
            )
        if (self.path / 'metadata.yaml').is_file() and _fault_of([self.path]) is None:
            return [self.path]
        fault = _fault_of(files)
        if fault is None:
            if files != [self.path]:
                self.notes[f'{self.path}: metadata.yaml is missing or wrong; read without it'] = 1
            return files
        self._workshop = tempfile.TemporaryDirectory(prefix='tosa-bag-')
        saved = [salvage(file, Path(self._workshop.name)) for file in files]
        if saved == files or _fault_of(saved) is not None:
            raise DataError(f'{self.path}: cannot be read as a bag: {in_words(fault)}')
        self.notes[f'{self.path}: is cut off; the part before is used'] = 1
        return saved

    def _files(self) -> list[Path]:
        if self.path.is_file():
            return [self.path]
        return sorted(file for file in self.path.iterdir() if file.suffix in BAG_SUFFIXES)


def _reader(sources: Sequence[Any]) -> Any:
    try:
        from rosbags.highlevel import AnyReader
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise MissingDependencyError('rosbags', 'eval', 'reading a bag') from error
    bound_decompression()
    # The store is for bags that carry no definitions of their messages.
    reader = AnyReader(sources, default_typestore=get_typestore(Stores.ROS2_JAZZY))
    with sealed():
        reader.open()
    return reader


def _fault_of(sources: Sequence[Any]) -> Exception | None:
    """Why these cannot be opened, or None."""
    try:
        _reader(sources).close()
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
