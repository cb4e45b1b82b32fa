"""Every error this package raises for bad input, one class a part of it.

They are raised where the bad thing enters, in one line that names the thing, the value seen
and the fix; the command line prints that line and exits with code 2.
"""

from __future__ import annotations

LONGEST_REASON = 300  # characters of what a library or a server said


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


class MissingLibraryError(TosaError, ImportError):
    """A library of the operating system is needed and not installed; pip cannot bring it."""

    def __init__(self, library: str, package: str, why: str) -> None:
        super().__init__(
            f'{why} needs the library {library}, which is not installed: '
            f'apt install {package} (Debian, Ubuntu)'
        )


def printable(text: str, longest: int = LONGEST_REASON) -> str:
    """Foreign text as one line of at most `longest` characters without terminal commands."""
    line = ''.join(c if c.isprintable() else '?' for c in ' '.join(text.split()))
    if len(line) <= longest:
        return line
    end = longest // 3  # Where the reason often stands, after a name that is too long.
    return f'{line[: longest - 3 - end]}...{line[len(line) - end :]}'


def plain_text(text: str) -> str:
    """Foreign text with its lines, without terminal commands and unprintable characters."""
    return ''.join(c if c.isprintable() or c == '\n' else '?' for c in text)
