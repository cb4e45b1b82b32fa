"""Layout: what the files of a folder are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tosa_ros.sources.single import CameraLike

MILLIMETRES = 1000.0  # units per metre


@dataclass(frozen=True, eq=False)
class FrameFiles:
    """The files of one frame in a folder.

    stem: its name. pose: camera-to-world with the optical frame's axes (`axes.py` turns others),
    or the text file that holds it; one that is not finite is none. intrinsics: colour's, where
    each frame has its own; Intrinsics of another size are scaled to the picture. stamp: seconds.
    """

    stem: str
    rgb: Path
    depth: Path | None = None
    pose: np.ndarray | Path | None = None
    intrinsics: CameraLike | None = None
    stamp: float = 0.0


@dataclass(frozen=True)
class Listing:
    """A folder's frames in order, its cameras, and what the format says of its depth.

    depth_scale: units per metre of whole numbers; None where the format does not say, and
        millimetres are usual.
    float_scale: units per metre of depth files with floats; None where that must be asked for.
    aligned: whether the format says that depth is on colour's view whatever its size; None where
        it says nothing, and depth of colour's size is on its pixels.
    notes: what the folder does not say, or what of it is not used.
    """

    files: tuple[FrameFiles, ...]
    intrinsics: CameraLike | None = None
    depth_intrinsics: CameraLike | None = None
    depth_scale: float | None = None
    float_scale: float | None = 1.0
    aligned: bool | None = None
    notes: tuple[str, ...] = ()


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
