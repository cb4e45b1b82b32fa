"""Record3D's export "EXR + RGB", of an iPhone or iPad.

`EXR_RGBD/rgb/0.jpg`, `EXR_RGBD/depth/0.exr` (metres, often smaller than colour, on its view),
`EXR_RGBD/metadata.json`: K (column by column) for pictures of w x h, a pose a frame (qx qy qz qw,
x y z: camera-to-world with ARKit's axes), and in newer ones intrinsics a frame.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tosa_ros.depth.files import SUFFIXES as DEPTHS
from tosa_ros.errors import FrameError
from tosa_ros.frames import Intrinsics
from tosa_ros.pictures import SUFFIXES as PICTURES
from tosa_ros.sources.layouts.axes import OPENGL_TO_OPTICAL, from_quaternion
from tosa_ros.sources.layouts.layout import MILLIMETRES, FrameFiles, Layout, Listing
from tosa_ros.sources.layouts.objects import nine, number, object_of, sized_camera
from tosa_ros.sources.naming import by_stem, files_in

PLACES = ('.', 'EXR_RGBD')
METADATA = 'metadata.json'


def matches(folder: Path) -> bool:
    """Whether there are pictures in rgb/, and the file that has their cameras."""
    return _place(folder) is not None


def frames(folder: Path) -> Listing:
    """The frames; the number in a name is the place of its pose.

    Raises:
        FrameError: metadata that is not Record3D's.
        DataError: it is not JSON.
    """
    base = _place(folder)
    if base is None:
        raise FrameError(f'{folder}: wanted {WANTED}')
    held = object_of(base / METADATA)
    images = by_stem(files_in(base / 'rgb', PICTURES), PICTURES, 'colour image')
    depths = by_stem(files_in(base / 'depth', DEPTHS), DEPTHS, 'depth file')
    camera = _camera(held, base / METADATA)
    poses = _table(held, 'poses', 7, base / METADATA)
    own = _table(held, 'perFrameIntrinsicCoeffs', 4, base / METADATA)
    rate = held.get('fps')
    files = []
    for place, (stem, image) in enumerate(images.items()):
        index = int(stem) if stem.isdecimal() else place
        pose = _pose(poses[index]) if index < len(poses) else None
        seen = camera
        if index < len(own):
            seen = sized_camera(base / METADATA, *own[index], camera.width, camera.height)
        stamp = index / rate if isinstance(rate, int | float) and rate > 0 else 0.0
        files.append(FrameFiles(stem, image, depths.get(stem), pose, seen, stamp))
    lacking = sum(one.pose is None for one in files)
    notes = [f'{lacking} of {len(files)} frames have no pose in {METADATA}'] if lacking else []
    return Listing(tuple(files), depth_scale=MILLIMETRES, aligned=True, notes=tuple(notes))


def _place(folder: Path) -> Path | None:
    for name in PLACES:
        base = folder / name
        if (base / METADATA).is_file() and files_in(base / 'rgb', PICTURES):
            return base
    return None


def _camera(held: dict[str, Any], path: Path) -> Intrinsics:
    fx, _, _, _, fy, _, cx, cy, _ = nine(held, 'K', path)  # column by column
    return sized_camera(path, fx, fy, cx, cy, number(held, 'w', path), number(held, 'h', path))


def _table(held: dict[str, Any], name: str, columns: int, path: Path) -> list[list[float]]:
    """A list of rows of numbers, which may be missing."""
    try:
        table = np.asarray(held.get(name) or np.empty((0, columns)), np.float64)
    except (TypeError, ValueError):
        table = np.empty(0)
    if table.ndim != 2 or table.shape[1] != columns:
        raise FrameError(f'{path}: wanted {name!r}, a list of rows of {columns} numbers')
    return table.tolist()


def _pose(row: list[float]) -> np.ndarray | None:
    pose = from_quaternion(row[4:7], row[:4])
    return None if pose is None else pose @ OPENGL_TO_OPTICAL


WANTED = f'rgb/ with pictures and {METADATA}'
LAYOUT = Layout(WANTED, matches, frames)
