"""What is left of bag files that were cut off: by a recorder that died, or a copy that broke."""

from __future__ import annotations

import io
import sqlite3
import struct
from pathlib import Path
from typing import IO, Any

_MAGIC = b'\x89MCAP0\r\n'
_RECORD = struct.Struct('<BQ')
# A footer record without a summary: the reader then scans the file.
_FOOTER = _RECORD.pack(2, 20) + bytes(20) + _MAGIC


def salvage(path: Path, workshop: Path) -> Any:
    """A file that can be read in place of a cut off one; the path itself where nothing is cut.

    An .mcap file is read up to its last whole record where it is, a .db3 file is copied to
    `workshop` up to its first lost row.
    """
    if path.suffix == '.mcap':
        return _salvage_mcap(path)
    return _salvage_db3(path, workshop) if path.suffix == '.db3' else path


def _salvage_mcap(path: Path) -> Path | SalvagedMcap:
    size = path.stat().st_size
    with path.open('rb') as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return path
        file.seek(max(0, size - len(_MAGIC)))
        if size > 2 * len(_MAGIC) and file.read() == _MAGIC:
            return path
        whole = at = len(_MAGIC)
        while at + _RECORD.size <= size:
            file.seek(at)
            _, length = _RECORD.unpack(file.read(_RECORD.size))
            at += _RECORD.size + length
            if at > size:
                break
            whole = at
    return SalvagedMcap(path, whole)


def _salvage_db3(path: Path, workshop: Path) -> Path:
    saved = workshop / path.name
    source = sqlite3.connect(f'file:{path}?immutable=1', uri=True)
    target = sqlite3.connect(saved)
    try:
        # Without it, SQLite refuses a file that is shorter than its header says.
        source.execute('PRAGMA writable_schema=ON')
        parts = source.execute(
            'SELECT type, name, sql FROM sqlite_master WHERE sql NOT NULL'
        ).fetchall()
        # Indices last: they are made of rows.
        for kind, name, sql in sorted(parts, key=lambda part: part[0] != 'table'):
            target.execute(sql)
            if kind == 'table':
                _copy_rows(source, target, name)
        target.commit()
    except sqlite3.DatabaseError:
        return path
    finally:
        source.close()
        target.close()
    return saved


def _copy_rows(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> None:
    """Copies rows in the order in which they were written, as far as they can be read."""
    rows = source.execute(f'SELECT * FROM "{table}"')
    slots = ','.join('?' * len(rows.description))
    while True:
        try:
            row = rows.fetchone()
        except sqlite3.DatabaseError:
            return
        if row is None:
            return
        target.execute(f'INSERT INTO "{table}" VALUES ({slots})', row)


class SalvagedMcap:
    """An mcap file without its end, shown to the reader as a whole one of fewer records.

    Implements as much of a path as rosbags asks for.
    """

    suffix = '.mcap'

    def __init__(self, path: Path, whole: int) -> None:
        self.path, self.whole = path, whole

    def __str__(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        return True

    def is_dir(self) -> bool:
        return False

    def open(self, mode: str = 'rb') -> IO[bytes]:
        return io.BufferedReader(_WithFooter(self.path, self.whole), 1 << 20)


class _WithFooter(io.RawIOBase):
    """The first bytes of a file, then a footer."""

    def __init__(self, path: Path, whole: int) -> None:
        self._file = path.open('rb', buffering=0)
        self._whole, self._size, self._at = whole, whole + len(_FOOTER), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        # As in a real file's reader, nothing lies behind the end.
        self._at = min(max(0, base + offset), self._size)
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast('B')
        if self._at < self._whole:
            self._file.seek(self._at)
            count = self._file.readinto(view[: self._whole - self._at]) or 0
        else:
            start = self._at - self._whole
            piece = _FOOTER[start : start + len(view)]
            count = len(piece)
            view[:count] = piece
        self._at += count
        return count

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
