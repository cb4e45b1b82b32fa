"""Polycam's raw data, of an iPhone or iPad in LiDAR mode.

`keyframes/images/<stamp>.jpg`, `keyframes/depth/<stamp>.png` (millimetres, smaller than colour, on
its view), `keyframes/cameras/<stamp>.json` (fx, fy, cx, cy, width, height, and t_00 to t_23:
camera-to-world with ARKit's axes). After its own optimisation also `corrected_images/` and
`corrected_cameras/`, which are better and used instead.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tosa_ros.depth.files import SUFFIXES as DEPTHS
from tosa_ros.errors import FrameError
from tosa_ros.frames import Intrinsics
from tosa_ros.pictures import SUFFIXES as PICTURES
from tosa_ros.sources.layouts.axes import OPENGL_TO_OPTICAL
from tosa_ros.sources.layouts.layout import MILLIMETRES, FrameFiles, Layout, Listing
from tosa_ros.sources.layouts.objects import number, object_of, sized_camera
from tosa_ros.sources.naming import by_stem, files_in

KEYFRAMES = 'keyframes'
BETTER, RAW = 'corrected_', ''


def matches(folder: Path) -> bool:
    """Whether pictures have cameras of their names beside them."""
    return _place(folder) is not None


def frames(folder: Path) -> Listing:
    """The frames.

    Raises:
        FrameError: a camera file that holds none.
        DataError: one that is not JSON.
    """
    place = _place(folder)
    if place is None:
        raise FrameError(f'{folder}: wanted {WANTED}')
    base, kind = place
    images = by_stem(files_in(base / f'{kind}images', PICTURES), PICTURES, 'colour image')
    depths = by_stem(files_in(base / 'depth', DEPTHS), DEPTHS, 'depth file')
    cameras = by_stem(files_in(base / f'{kind}cameras', ('.json',)), ('.json',), 'camera')
    files = []
    for stem, image in images.items():
        camera = pose = None
        if stem in cameras:
            camera, pose = _camera(cameras[stem])
        stamp = int(stem) * 1e-6 if stem.isdecimal() else 0.0  # microseconds since start
        files.append(FrameFiles(stem, image, depths.get(stem), pose, camera, stamp))
    notes = []
    if kind == RAW and (base / f'{BETTER}cameras').is_dir():
        notes.append(f'{BETTER}images/ has no pictures: images/ and cameras/ are used')
    lacking = sum(one.pose is None for one in files)
    if lacking:
        notes.append(f'{lacking} of {len(files)} frames have no file in {kind}cameras/')
    return Listing(tuple(files), depth_scale=MILLIMETRES, aligned=True, notes=tuple(notes))


def _place(folder: Path) -> tuple[Path, str] | None:
    """The folder of keyframes, and which of its two kinds there is."""
    for base in (folder / KEYFRAMES, folder):
        for kind in (BETTER, RAW):
            if files_in(base / f'{kind}images', PICTURES) and files_in(
                base / f'{kind}cameras', ('.json',)
            ):
                return base, kind
    return None


def _camera(path: Path) -> tuple[Intrinsics, np.ndarray]:
    held = object_of(path)
    camera = [number(held, name, path) for name in ('fx', 'fy', 'cx', 'cy', 'width', 'height')]
    pose = np.eye(4)
    for row in range(3):
        for column in range(4):
            pose[row, column] = number(held, f't_{row}{column}', path)
    return sized_camera(path, *camera), pose @ OPENGL_TO_OPTICAL


WANTED = f'{KEYFRAMES}/images/ and {KEYFRAMES}/cameras/*.json'
LAYOUT = Layout(WANTED, matches, frames)
