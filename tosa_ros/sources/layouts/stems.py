"""What the layouts share that name a frame's files by one stem: 00000-rgb.png, 00000-depth.png."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tosa_ros.depth.files import SUFFIXES as DEPTHS
from tosa_ros.pictures import SUFFIXES as PICTURES
from tosa_ros.sources.layouts.layout import MILLIMETRES, FrameFiles, Listing
from tosa_ros.sources.matrices import COLOUR_CAMERA, DEPTH_CAMERA, read_camera
from tosa_ros.sources.naming import by_stem, files_in

RGB_ENDINGS = tuple(f'-rgb{suffix}' for suffix in PICTURES)
DEPTH_ENDINGS = tuple(f'-depth{suffix}' for suffix in DEPTHS)
WANTED = 'files named *-rgb.png or *-rgb.jpg'


def colour_images(folder: Path) -> list[Path]:
    """The colour images of a folder, by name, numbers by their value."""
    return files_in(folder, RGB_ENDINGS)


def listing(folder: Path, poses: Sequence[Path | np.ndarray | None] | None = None) -> Listing:
    """The frames of a folder, with its two camera files.

    poses: one for each frame; None: the file of its stem, where it has one.

    Raises:
        FrameError: a stem with two images of a kind, or a camera file that holds none.
    """
    images = by_stem(colour_images(folder), RGB_ENDINGS, 'colour image')
    depths = by_stem(files_in(folder, DEPTH_ENDINGS), DEPTH_ENDINGS, 'depth file')
    if poses is None:
        own = by_stem(files_in(folder, ('.txt',)), ('.txt',), 'pose file')
        poses = [own.get(stem) for stem in images]
    files = tuple(
        FrameFiles(stem, image, depths.get(stem), pose)
        for (stem, image), pose in zip(images.items(), poses, strict=True)
    )
    cameras = [_camera(folder / name) for name in (COLOUR_CAMERA, DEPTH_CAMERA)]
    return Listing(files, *cameras, depth_scale=MILLIMETRES)


def _camera(path: Path) -> tuple[float, float, float, float] | None:
    return read_camera(path) if path.is_file() else None
