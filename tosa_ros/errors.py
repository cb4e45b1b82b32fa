"""Every error this package raises for bad input, one class a part of it.

They are raised where the bad thing enters, in one line that names the thing, the value seen
and the fix; the command line prints that line and exits with code 2.
"""

from __future__ import annotations

from pathlib import Path

LONGEST_REASON = 300  # characters of what a library said


class TosaError(Exception):
    """Root of every error that `tosa_ros` raises on purpose."""


class FrameError(TosaError):
    """A frame's arrays, intrinsics, pose or files do not fit together."""


class MergingError(TosaError):
    """A merging method was given settings or tensors it cannot work with."""


class SpatialError(TosaError):
    """Spatial tokens cannot be made from this depth, camera or patch grid."""


class DepthError(TosaError):
    """A depth source was given input it cannot turn into depth."""


class VisionError(TosaError):
    """An encoder cannot be merged in, or was called in a way that does not fit."""


class ModelError(TosaError):
    """A checkpoint cannot be found, read or used."""


class QuestionError(TosaError):
    """A question cannot be asked as it stands."""


class DataError(TosaError):
    """A benchmark's, bag's or world's file is missing or malformed."""


class RosError(TosaError):
    """A ROS message, parameter or transport setting cannot be used."""


class MissingDependencyError(TosaError, ImportError):
    """An optional package is needed and not installed."""

    def __init__(self, package: str, extra: str, why: str) -> None:
        super().__init__(
            f'{why} needs the package {package}, which is not installed: '
            f"pip install 'tosa_ros[{extra}]'"
        )


def loading_fault(error: Exception) -> str:
    """Why a library could not load a checkpoint: one line, printable, of a length to be read."""
    text = str(error)
    if 'trust_remote_code' in text or 'contains custom code' in text:
        return 'it brings code of its own (auto_map), which is never run'
    if isinstance(error, MemoryError):
        return f'it does not fit in memory ({text})' if text else 'it does not fit in memory'
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    name = type(error).__name__
    if not lines or isinstance(error, LookupError | ArithmeticError | TypeError | AttributeError):
        lines = [f'it is malformed ({name}: {" ".join(lines)})']
    elif lines[0].endswith(':') and len(lines) > 1:  # a heading; what is wrong comes after it
        lines = [' '.join(lines[:2])]
    line = ''.join(c if c.isprintable() else '?' for c in lines[0])
    return line if len(line) <= LONGEST_REASON else f'{line[: LONGEST_REASON - 3]}...'


def is_missing_folder(path: str) -> bool:
    """Whether a model's path is no folder, and cannot be a hub's owner/name either.

    Told at once, as asking a hub for it takes a minute offline.
    """
    local = '/' not in path or path.startswith(('.', '/', '~'))
    return local and not Path(path).is_dir()
