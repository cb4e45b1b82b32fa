"""Salvages truncated bag files: after a crash of the recorder, or an interrupted copy."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path
from typing import IO, Any

from tosa_ros.sources.bags.pieces import PiecedFile
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


def _salvage_mcap(path: Path) -> Path | PiecedFile:
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
    return PiecedFile(path, [*pieces, _FOOTER])


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
