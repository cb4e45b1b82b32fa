"""What the layouts share that name a frame's files by one stem: 00000-rgb.png, 00000-depth.png."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tosa_ros.errors import FrameError
from tosa_ros.sources.layouts.layout import FrameFiles, Listing
from tosa_ros.sources.matrices import COLOUR_CAMERA, DEPTH_CAMERA, read_camera

RGB_SUFFIXES = ('-rgb.png', '-rgb.jpg', '-rgb.jpeg')
WANTED = 'files named *-rgb.png or *-rgb.jpg'


def colour_images(folder: Path) -> list[Path]:
    """The colour images of a folder, by name."""
    return sorted(
        file
        for file in folder.iterdir()
        if file.name.endswith(RGB_SUFFIXES) and not file.name.startswith('.')  # macOS's ._*
    )


def listing(folder: Path, poses: Sequence[Path | np.ndarray] | None = None) -> Listing:
    """The frames of a folder, with its two camera files.

    poses: one for each frame; None: the file of its stem, where it has one.

    Raises:
        FrameError: a stem with two colour images, or a camera file that holds none.
    """
    images = colour_images(folder)
    stems = [image.name.rpartition('-rgb.')[0] for image in images]
    for stem, following in itertools.pairwise(stems):
        if stem == following:
            raise FrameError(f'{folder}: frame {stem} has two colour images; take one away')
    depths = [_if_there(folder / f'{stem}-depth.png') for stem in stems]
    if poses is None:
        poses = [_if_there(folder / f'{stem}.txt') for stem in stems]
    cameras = [_camera(folder / name) for name in (COLOUR_CAMERA, DEPTH_CAMERA)]
    return Listing(tuple(map(FrameFiles, stems, images, depths, poses)), *cameras)


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _camera(path: Path) -> tuple[float, float, float, float] | None:
    return read_camera(path) if path.is_file() else None
