"""An append-only JSON Lines file that survives kill -9: a line is whole on disk, or not there."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tosa_ros.errors import DataError
from tosa_ros.files import append_only, utf8


class Journal:
    """Records appended one by one, each flushed to disk before `append` returns.

    Opening it drops a last line that was cut off while being written. A damaged line elsewhere
    is not the result of a crash, and raises DataError. What cannot be written whole is taken back,
    and raises DataError. Safe to append to from several threads.

    check: raises ValueError for a record that is not what the journal should hold.
    """

    def __init__(
        self, path: Path, check: Callable[[dict[str, Any]], None] = lambda record: None
    ) -> None:
        self.path = path
        self.records: list[dict[str, Any]] = []
        self._check = check
        self._lock = threading.Lock()
        self._file = append_only(path)
        try:
            self._size = self._read()
            if self._size < path.stat().st_size:
                self._take_back()
        except OSError as error:
            os.close(self._file)
            raise DataError(f'{path}: cannot be read: {error.strerror}') from error
        except BaseException:
            os.close(self._file)
            raise

    def append(self, record: dict[str, Any]) -> None:
        """Writes one record and waits until the disk has it."""
        self.extend([record])

    def extend(self, records: Sequence[dict[str, Any]]) -> None:
        """Writes records at once and waits until the disk has them.

        Raises:
            DataError: they cannot be written; the journal is as before.
        """
        lines = [json.dumps(r, ensure_ascii=False, allow_nan=False) + '\n' for r in records]
        data = utf8(''.join(lines))
        with self._lock:
            try:
                left = memoryview(data)
                while left:
                    left = left[os.write(self._file, left) :]
                os.fsync(self._file)
            except OSError as error:
                with contextlib.suppress(OSError):  # Opening it again does so too.
                    self._take_back()
                raise DataError(f'{self.path}: cannot be written: {error.strerror}') from error
            self._size += len(data)
            self.records += records

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take_back(self) -> None:
        os.ftruncate(self._file, self._size)
        os.fsync(self._file)

    def _read(self) -> int:
        """Fills `records`; returns the bytes of the whole lines."""
        data = self.path.read_bytes()
        whole = data.rfind(b'\n') + 1
        for number, line in enumerate(data[:whole].splitlines(), start=1):
            try:
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise ValueError('not an object')
                self._check(record)
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f'{self.path}: line {number} is damaged ({error}); remove that line to go on'
                ) from error
            self.records.append(record)
        return whole
