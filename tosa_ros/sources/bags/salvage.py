"""Salvages truncated bag files: after a crash of the recorder, or an interrupted copy."""

from __future__ import annotations

import contextlib
import io
import struct
from pathlib import Path
from typing import IO, Any

from tosa_ros.sources.bags.sealed import TABLES, opened, plain_columns

_MAGIC = b'\x89MCAP0\r\n'
_RECORD = struct.Struct('<BQ')
# Opcode, length, first and last time, size, checksum, length of the compression's name (which is
# empty here), and of the records.
_CHUNK = struct.Struct('<BQQQQIIQ')
_CHUNK_OPCODE = 6
# A footer record without a summary: the reader then scans the file.
_FOOTER = _RECORD.pack(2, 20) + bytes(20) + _MAGIC


def salvage(path: Path, workshop: Path) -> Any:
    """A readable file in place of a truncated one; the path itself if nothing is missing.

    An .mcap file is read where it is, up to its last whole record; a .db3 file is copied to
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
        whole = _end_of_records(file, len(_MAGIC), size)
        pieces = [(0, whole)]
        inside = _inside_chunk(file, whole)
        if inside is not None:
            # Records may lie outside of chunks too.
            pieces.append((inside, _end_of_records(file, inside, size)))
    return SalvagedMcap(path, pieces)


def _end_of_records(file: IO[bytes], at: int, size: int) -> int:
    """Where the last whole record ends of those that begin at `at`."""
    while at + _RECORD.size <= size:
        file.seek(at)
        _, length = _RECORD.unpack(file.read(_RECORD.size))
        if at + _RECORD.size + length > size:
            break
        at += _RECORD.size + length
    return at


def _inside_chunk(file: IO[bytes], at: int) -> int | None:
    """Where the records begin of the chunk at `at`; None where none is, or a compressed one."""
    file.seek(at)
    head = file.read(_CHUNK.size)
    if len(head) < _CHUNK.size:
        return None
    opcode, *_, name_length, _ = _CHUNK.unpack(head)
    return at + _CHUNK.size if opcode == _CHUNK_OPCODE and name_length == 0 else None


def _salvage_db3(path: Path, workshop: Path) -> Path:
    """The readable rows in a new file; of the old schema, only names are read."""
    import apsw

    saved = workshop / path.name
    with contextlib.closing(apsw.Connection(str(saved))) as target:
        try:
            with contextlib.closing(opened(path, cut_off=True)) as source, target:
                for table in TABLES:
                    columns = plain_columns(source, table)
                    if columns:
                        _copy_rows(source, target, table, columns)
                target.execute('CREATE INDEX timestamp_idx ON messages (timestamp ASC)')
        except (apsw.Error, UnicodeDecodeError):
            return path
    return saved


def _copy_rows(source: Any, target: Any, table: str, columns: list[str]) -> None:
    """Copies rows in the order in which they were written, as far as they can be read."""
    import apsw

    kinds = (f'{column} INTEGER PRIMARY KEY' if column == 'id' else column for column in columns)
    target.execute(f'CREATE TABLE {table} ({", ".join(kinds)})')
    insert = f'INSERT OR IGNORE INTO {table} VALUES ({", ".join("?" * len(columns))})'
    # An index may be whole where the table is not.
    rows = source.execute(f'SELECT {", ".join(columns)} FROM {table} NOT INDEXED')
    while True:
        try:
            row = next(rows, None)
        except (apsw.Error, UnicodeDecodeError):
            return
        if row is None:
            return
        target.execute(insert, row)


class SalvagedMcap:
    """A truncated mcap file, shown to the reader as a complete one with fewer records.

    Implements as much of a path as rosbags asks for.
    """

    suffix = '.mcap'

    def __init__(self, path: Path, pieces: list[tuple[int, int]]) -> None:
        self.path, self.pieces = path, pieces

    def __str__(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        return True

    def is_dir(self) -> bool:
        return False

    def open(self, mode: str = 'rb') -> IO[bytes]:
        return io.BufferedReader(_Pieces(self.path, self.pieces), 1 << 20)


class _Pieces(io.RawIOBase):
    """Pieces (begin, end) of a file one after another, then a footer."""

    def __init__(self, path: Path, pieces: list[tuple[int, int]]) -> None:
        self._file = path.open('rb', buffering=0)
        self._pieces = pieces
        self._size = sum(end - begin for begin, end in pieces) + len(_FOOTER)
        self._at = 0

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
        view, start = memoryview(buffer).cast('B'), self._at
        for begin, end in self._pieces:
            if start < end - begin:
                self._file.seek(begin + start)
                count = self._file.readinto(view[: end - begin - start]) or 0
                break
            start -= end - begin
        else:
            footer = _FOOTER[start : start + len(view)]
            count = len(footer)
            view[:count] = footer
        self._at += count
        return count

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
