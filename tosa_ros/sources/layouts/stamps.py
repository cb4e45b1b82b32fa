"""What belongs together by time: text tables of stamped rows, and the nearest of them."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from pathlib import Path

from tosa_ros.errors import FrameError
from tosa_ros.files import read_text
from tosa_ros.sources.matrices import numbers


def rows(path: Path, columns: int) -> list[list[float]]:
    """The rows of a table of numbers, in the order of their first column; # begins a comment.

    Raises:
        FrameError: a row with fewer columns, or with something else than numbers.
    """
    found = []
    for number, line in enumerate(read_text(path, FrameError).splitlines(), start=1):
        line = line.partition('#')[0]
        if not line.strip():
            continue
        row = numbers(line, f'{path}, line {number}')
        if len(row) < columns:
            raise FrameError(
                f'{path}, line {number}: {len(row)} numbers; wanted {columns}, the first a stamp'
            )
        found.append(row)
    return sorted(found, key=lambda row: row[0])


def nearest(stamps: Sequence[float], stamp: float, within_s: float) -> int | None:
    """The index of the nearest of some sorted stamps, if it is near enough."""
    after = bisect.bisect_left(stamps, stamp)
    near = [i for i in (after - 1, after) if 0 <= i < len(stamps)]
    best = min(near, key=lambda i: abs(stamps[i] - stamp), default=None)
    # Stamps are decimal numbers: 0.02 s apart may be a little more in binary.
    return best if best is not None and abs(stamps[best] - stamp) <= within_s + 1e-6 else None
