"""What the layouts share that keep cameras in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tosa_ros.errors import FrameError
from tosa_ros.files import read_json


def object_of(path: Path) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises:
        DataError: the file cannot be read, or is not JSON.
        FrameError: it holds something else.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise FrameError(f'{path}: holds {type(value).__name__}; wanted a JSON object')
    return value


def number(held: Mapping[str, Any], name: str, where: Path | str) -> float:
    """A number of an object.

    Raises:
        FrameError: it is missing, or something else.
    """
    value = held.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FrameError(f'{where}: {name!r} is {value!r}; wanted a number')
    return float(value)
