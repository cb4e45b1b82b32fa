"""SQLite bags as data alone: nothing in such a file is ever executed.

A .db3 file brings its own schema, and SQLite runs parts of a schema when tables are read: views,
virtual tables, expressions of generated columns. Here a file may only hold plain tables and
indices, and a connection may only select from the tables that recorders write.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tosa_ros.errors import DataError

if TYPE_CHECKING:
    import apsw

# The tables and columns of every rosbag2 so far; older ones lack some.
TABLES = {
    'schema': ('schema_version', 'ros_distro'),
    'metadata': ('id', 'metadata_version', 'metadata'),
    'topics': (
        'id',
        'name',
        'type',
        'serialization_format',
        'offered_qos_profiles',
        'type_description_hash',
    ),
    'message_definitions': (
        'id',
        'topic_type',
        'encoding',
        'encoded_message_definition',
        'type_description_hash',
    ),
    'messages': ('id', 'topic_id', 'timestamp', 'data'),
}
LONGEST_VALUE = 1 << 28  # bytes; an uncompressed 4K image has 25 million
_FUNCTIONS = ('count', 'min', 'max')
_PRAGMAS = ('table_info', 'table_xinfo')


@contextlib.contextmanager
def sealed() -> Iterator[None]:
    """Inside, every connection that is opened (by rosbags too) may do nothing but read bags.

    Raises:
        DataError: from within the `with`, for a file whose schema holds anything but tables.
    """
    import apsw

    apsw.connection_hooks.append(_seal)
    try:
        yield
    finally:
        apsw.connection_hooks.remove(_seal)


def opened(path: Path, *, cut_off: bool) -> apsw.Connection:
    """A sealed connection to a bag's file; cut_off: one that is shorter than it says."""
    import apsw

    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(f'file:{quote(str(path))}?mode=ro&immutable=1', flags=flags)
    try:
        if cut_off:
            # Without it, SQLite refuses such a file; nothing can be written all the same.
            connection.execute('PRAGMA writable_schema=ON')
        _seal(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def checkpoint(path: Path) -> None:
    """Writes the write-ahead log beside a file into it, as no statement could.

    Raises:
        DataError: a file whose schema holds anything but tables.
        apsw.Error: the file or the log is damaged.
    """
    import apsw

    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(f'file:{quote(str(path))}?mode=rw', flags=flags)
    try:
        _seal(connection)  # which reads the file, so that SQLite has found the log
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    finally:
        connection.close()


def plain_columns(connection: apsw.Connection, table: str) -> list[str]:
    """The known columns that a known table of the file has, in the recorders' order."""
    rows = connection.execute(f'PRAGMA table_xinfo("{table}")').fetchall()
    computed = [name for _, name, *_, hidden in rows if hidden]
    if computed:
        raise DataError(
            f'{connection.filename}: column {computed[0]!r} of table {table} is computed, not '
            'stored; no recorder writes such bags, and what they compute is not run'
        )
    there = {name for _, name, *_ in rows}
    return [column for column in TABLES[table] if column in there]


def _seal(connection: apsw.Connection) -> None:
    import apsw

    for option in ('TRUSTED_SCHEMA', 'ENABLE_VIEW', 'ENABLE_TRIGGER', 'ENABLE_LOAD_EXTENSION'):
        connection.config(getattr(apsw, f'SQLITE_DBCONFIG_{option}'), 0)
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
    connection.limit(apsw.SQLITE_LIMIT_ATTACHED, 0)
    connection.authorizer = _allowed
    schema = connection.execute('SELECT type, name, rootpage FROM sqlite_master').fetchall()
    for kind, name, page in schema:
        if kind not in ('table', 'index') or not isinstance(page, int) or page < 1:
            raise DataError(
                f'{connection.filename}: holds {_short(name)} ({_short(kind)}), which is more '
                'than stored rows; no recorder writes such bags, and nothing in them is run'
            )
        if kind == 'table' and name in TABLES:
            plain_columns(connection, name)


def _allowed(action: int, first: Any, second: Any, database: Any, view: Any) -> int:
    """SQLite asks before it compiles each part of a statement."""
    import apsw

    reads = (*TABLES, 'sqlite_master')
    allowed = view is None and (
        action == apsw.SQLITE_SELECT
        or (action == apsw.SQLITE_READ and first in reads)
        or (action == apsw.SQLITE_FUNCTION and second.lower() in _FUNCTIONS)
        or (action == apsw.SQLITE_PRAGMA and first in _PRAGMAS)
    )
    return apsw.SQLITE_OK if allowed else apsw.SQLITE_DENY


def _short(text: Any) -> str:
    return repr(text)[:60]
