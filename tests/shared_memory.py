"""Which shared-memory segments a process of Fast DDS has."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path


def lock_files(pid: int) -> set[Path]:
    """The lock files of a living process's own segments, which it holds open."""
    targets = set()
    for link in Path(f'/proc/{pid}/fd').iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed by now
            targets.add(Path(os.readlink(link)))
    return {path for path in targets if re.fullmatch(r'fastdds_[0-9a-f]{16}_el', path.name)}


def segments(pid: int) -> list[Path]:
    """The files of a living process's own segments."""
    return [file for lock in lock_files(pid) for file in (lock, lock.with_name(lock.name[:-3]))]
