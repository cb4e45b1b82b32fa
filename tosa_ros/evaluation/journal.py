"""An append-only JSON Lines file that survives kill -9: a line is whole on disk, or not there."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tosa_ros.errors import DataError


class Journal:
    """Records appended one by one, each flushed to disk before `append` returns.

    Opening it drops a last line that was cut off while being written. A damaged line elsewhere
    is no accident of a crash, and raises DataError. Safe to append to from several threads.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = self._read() if path.exists() else 0
        self._file = path.open('ab')
        if whole < path.stat().st_size:
            self._file.truncate(whole)
            os.fsync(self._file.fileno())

    def append(self, record: dict[str, Any]) -> None:
        """Writes one record and waits until the disk has it."""
        self.extend([record])

    def extend(self, records: Sequence[dict[str, Any]]) -> None:
        """Writes records at once and waits until the disk has them."""
        lines = [json.dumps(r, ensure_ascii=False, allow_nan=False).encode() for r in records]
        with self._lock:
            self._file.write(b''.join(line + b'\n' for line in lines))
            self._file.flush()
            os.fsync(self._file.fileno())
            self.records += records

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> int:
        """Fills `records`; returns the bytes of the whole lines."""
        data = self.path.read_bytes()
        whole = data.rfind(b'\n') + 1
        for number, line in enumerate(data[:whole].splitlines(), start=1):
            try:
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise ValueError('not an object')
            except ValueError as error:
                raise DataError(
                    f'{self.path}: line {number} is damaged ({error}); remove that line to go on'
                ) from error
            self.records.append(record)
        return whole
