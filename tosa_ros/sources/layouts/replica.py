"""Replica as NICE-SLAM renders it.

`results/frame000000.jpg`, `results/depth000000.png`, `traj.txt` (a line of 16 numbers a frame:
camera-to-world), and `cam_params.json` here or one folder up: the camera, and the depth units per
metre (6553.5).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tosa_ros.depth.files import SUFFIXES as DEPTHS
from tosa_ros.errors import FrameError
from tosa_ros.files import read_text
from tosa_ros.frames import Intrinsics
from tosa_ros.pictures import SUFFIXES as PICTURES
from tosa_ros.sources.layouts.layout import FrameFiles, Layout, Listing
from tosa_ros.sources.layouts.objects import number, object_of, sized_camera
from tosa_ros.sources.matrices import numbers
from tosa_ros.sources.naming import by_stem, files_in

RESULTS, POSES, CAMERA = 'results', 'traj.txt', 'cam_params.json'
UNITS_PER_METRE = 6553.5
_FRAME, _DEPTH = re.compile(r'frame\d+\.', re.I), re.compile(r'depth\d+\.', re.I)


def matches(folder: Path) -> bool:
    """Whether results/ holds frames of that name."""
    return bool(_named(folder, PICTURES, _FRAME))


def frames(folder: Path) -> Listing:
    """The frames; the number in a name is the line of its pose.

    Raises:
        FrameError: poses or a camera that cannot be read.
    """
    images, depths = _named(folder, PICTURES, _FRAME), _named(folder, DEPTHS, _DEPTH)
    poses = _poses(folder / POSES) if (folder / POSES).is_file() else []
    path = next((p for p in (folder / CAMERA, folder.parent / CAMERA) if p.is_file()), None)
    camera, units = (None, UNITS_PER_METRE) if path is None else _camera(path)
    files = []
    for name, image in images.items():
        digits = name[len('frame') :]
        pose = poses[int(digits)] if int(digits) < len(poses) else None
        files.append(FrameFiles(name, image, depths.get(f'depth{digits}'), pose, camera))
    notes = []
    if path is None:
        notes.append(
            f"{CAMERA} is neither here nor one folder up: depth is taken in Replica's "
            f'{UNITS_PER_METRE} units per metre'
        )
    lacking = sum(one.pose is None for one in files)
    if lacking:
        notes.append(f'{lacking} of {len(files)} frames have no pose: {POSES} has {len(poses)}')
    return Listing(tuple(files), depth_scale=units, notes=tuple(notes))


def _named(folder: Path, suffixes: tuple[str, ...], name: re.Pattern[str]) -> dict[str, Path]:
    files = [file for file in files_in(folder / RESULTS, suffixes) if name.match(file.name)]
    return {s.lower(): f for s, f in by_stem(files, suffixes, 'image').items()}


def _poses(path: Path) -> list[np.ndarray]:
    poses = []
    for at, line in enumerate(read_text(path, FrameError).splitlines(), start=1):
        row = numbers(line, f'{path}, line {at}')
        if row and len(row) != 16:
            raise FrameError(f'{path}, line {at}: {len(row)} numbers; wanted 16, a 4x4 pose')
        if row:
            poses.append(np.array(row).reshape(4, 4))
    return poses


def _camera(path: Path) -> tuple[Intrinsics, float]:
    held = object_of(path).get('camera')
    if not isinstance(held, dict):
        raise FrameError(f"{path}: wanted an object 'camera'")
    camera = [number(held, name, path) for name in ('fx', 'fy', 'cx', 'cy', 'w', 'h')]
    return sized_camera(path, *camera), number(held, 'scale', path)


LAYOUT = Layout(f'{RESULTS}/frame*.jpg', matches, frames)
