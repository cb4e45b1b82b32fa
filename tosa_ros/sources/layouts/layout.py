"""Layout: what the files of a folder are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tosa_ros.sources.single import CameraLike


@dataclass(frozen=True)
class FrameFiles:
    """The files of one frame in a folder.

    stem: its name. pose: camera-to-world, or the text file that holds it.
    """

    stem: str
    rgb: Path
    depth: Path | None = None
    pose: np.ndarray | Path | None = None


@dataclass(frozen=True)
class Listing:
    """A folder's frames in order, and its cameras."""

    files: tuple[FrameFiles, ...]
    intrinsics: CameraLike | None = None
    depth_intrinsics: CameraLike | None = None


@dataclass(frozen=True)
class Layout:
    """One way in which data sets put frames into a folder.

    wanted: the files that make a folder one of this layout, in words.
    matches: whether a folder is one. list: its frames; raises FrameError where files that
        belong together do not fit.
    recognised: a folder is taken for one where it matches; else only where that is asked for.
    """

    wanted: str
    matches: Callable[[Path], bool]
    list: Callable[[Path], Listing]
    recognised: bool = True
