"""ScanNet as its reader exports it, and what else has a folder each of colour and depth.

`color/0.jpg`, `depth/0.png` (millimetres), `pose/0.txt` (4x4 camera-to-world; -inf where tracking
was lost), `intrinsic/intrinsic_color.txt`, `intrinsic/intrinsic_depth.txt`. All but colour may be
missing. Others write `rgb/` or `images/`, Open3D `camera_intrinsic.json` and `trajectory.log`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tosa_ros.depth.files import SUFFIXES as DEPTHS
from tosa_ros.errors import FrameError
from tosa_ros.pictures import SUFFIXES as PICTURES
from tosa_ros.sources.layouts.layout import MILLIMETRES, FrameFiles, Layout, Listing
from tosa_ros.sources.layouts.objects import nine, number, object_of, sized_camera
from tosa_ros.sources.layouts.redwood import TRAJECTORY, read_trajectory
from tosa_ros.sources.matrices import read_camera, read_matrix
from tosa_ros.sources.naming import by_stem, files_in
from tosa_ros.sources.single import CameraLike

COLOUR_FOLDERS = ('color', 'rgb', 'image', 'images')
POSE_FOLDERS = ('pose', 'poses')
# What says that a folder with rgb/ or images/ is of another layout.
OTHERS = ('rgb.txt', 'metadata.json', 'transforms.json', 'cameras', 'corrected_cameras')
COLOUR_CAMERAS = (
    'intrinsic/intrinsic_color.txt',
    'intrinsics/intrinsic_color.txt',
    'intrinsic_color.txt',
    'intrinsics_color.txt',
    'intrinsic.txt',
    'intrinsics.txt',
)
DEPTH_CAMERAS = (
    'intrinsic/intrinsic_depth.txt',
    'intrinsics/intrinsic_depth.txt',
    'intrinsic_depth.txt',
    'intrinsics_depth.txt',
)
EXTRINSICS = ('intrinsic/extrinsic_color.txt', 'intrinsic/extrinsic_depth.txt')
OPEN3D_CAMERA = 'camera_intrinsic.json'


def matches(folder: Path) -> bool:
    """Whether colour has a folder of its own, and depth too unless colour's is ScanNet's."""
    colour = _colour_folder(folder)
    if colour is None:
        return False
    return colour.name == 'color' or (
        (folder / 'depth').is_dir() and not any((folder / name).exists() for name in OTHERS)
    )


def frames(folder: Path) -> Listing:
    """The frames, each file found by the name of its colour image.

    Raises:
        FrameError: two files of one name, depth of which none has colour's name, or camera files
            that hold no camera.
    """
    colour = _colour_folder(folder)
    if colour is None:
        raise FrameError(f'{folder}: wanted {WANTED}')
    images = by_stem(files_in(colour, PICTURES), PICTURES, 'colour image')
    depths = by_stem(files_in(folder / 'depth', DEPTHS), DEPTHS, 'depth file')
    if depths and not images.keys() & depths.keys():
        raise FrameError(
            f'{folder}: no file in depth/ is named as one in {colour.name}/, as '
            f'{next(iter(depths))} and {next(iter(images))}; wanted the same names'
        )
    poses = _poses(folder, [*images])
    files = tuple(
        FrameFiles(stem, image, depths.get(stem), poses.get(stem))
        for stem, image in images.items()
    )
    own = _first(folder, DEPTH_CAMERAS)
    return Listing(
        files,
        _camera(folder),
        None if own is None else read_camera(own),
        depth_scale=MILLIMETRES if (folder / 'intrinsic').is_dir() else None,
        notes=_notes(folder),
    )


def _colour_folder(folder: Path) -> Path | None:
    return next((folder / n for n in COLOUR_FOLDERS if files_in(folder / n, PICTURES)), None)


def _poses(folder: Path, stems: list[str]) -> dict[str, Any]:
    """The poses by the frames' names: a file each, or all in Redwood's and Open3D's one."""
    for name in POSE_FOLDERS:
        files = files_in(folder / name, ('.txt',))
        if files:
            return by_stem(files, ('.txt',), 'pose file')
    path = folder / TRAJECTORY
    if path.is_file():
        return dict(zip(stems, read_trajectory(path, len(stems)), strict=True))
    return {}


def _camera(folder: Path) -> CameraLike | None:
    path = _first(folder, COLOUR_CAMERAS)
    if path is not None:
        return read_camera(path)
    path = folder / OPEN3D_CAMERA
    if not path.is_file():
        return None
    held = object_of(path)
    fx, _, _, _, fy, _, cx, cy, _ = nine(held, 'intrinsic_matrix', path)  # column by column
    width, height = (number(held, name, path) for name in ('width', 'height'))
    return sized_camera(path, fx, fy, cx, cy, width, height)


def _notes(folder: Path) -> tuple[str, ...]:
    moved = [
        name
        for name in EXTRINSICS
        if (folder / name).is_file()
        and not np.allclose(read_matrix(folder / name), np.eye(4), atol=1e-6)
    ]
    return tuple(f"{name} is not used: depth is taken from colour's place" for name in moved)


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


WANTED = 'color/ with pictures, or rgb/ or images/ beside depth/'
LAYOUT = Layout(WANTED, matches, frames)
