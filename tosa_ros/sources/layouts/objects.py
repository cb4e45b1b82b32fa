"""What the layouts share that have cameras among other numbers: in JSON, in tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tosa_ros.errors import FrameError
from tosa_ros.files import read_json
from tosa_ros.frames import Intrinsics
from tosa_ros.sources.single import naming


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


def nine(held: Mapping[str, Any], name: str, where: Path | str) -> list[float]:
    """A camera matrix of an object, as nine numbers.

    Raises:
        FrameError: it is missing, or something else.
    """
    k = held.get(name)
    if not isinstance(k, list) or len(k) != 9:
        raise FrameError(f'{where}: wanted {name!r}, a list of 9 numbers')
    return [number({name: one}, name, where) for one in k]


def sized_camera(where: Path | str, *values: float) -> Intrinsics:
    """The camera of fx, fy, cx, cy, width, height.

    Raises:
        FrameError: numbers that are no camera's; `where` names them.
    """
    fx, fy, cx, cy, width, height = values
    with naming(where):
        Intrinsics(fx, fy, cx, cy, width, height)  # type: ignore[arg-type]  # whole numbers?
        return Intrinsics(fx, fy, cx, cy, int(width), int(height))
