"""What tests of hostile input ask of everything: a result, or one line that says why not."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

from tosa_ros.errors import TosaError


def result_or_line(call: Callable[[], Any], at_most_bytes: int | None = None) -> tuple[Any, str]:
    """What a call returns, or the one line with which it refuses; it raises whatever else comes.

    at_most_bytes: of memory that Python and numpy may hold on top meanwhile.
    """
    if at_most_bytes is not None:
        tracemalloc.start()
    result, line = None, ''
    try:
        result = call()
    except TosaError as error:
        line = str(error)
        if not line or len(line.splitlines()) > 1:
            raise AssertionError(f'not one line: {line!r}') from error
    finally:
        if at_most_bytes is not None:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    if at_most_bytes is not None and peak > at_most_bytes:
        raise AssertionError(f'{peak:,} bytes allocated; wanted at most {at_most_bytes:,}')
    return result, line
