"""Nerfstudio's `transforms.json`, which many tools write.

Each frame has a `file_path`, a `transform_matrix` (camera-to-world with OpenGL's axes) and perhaps
a `depth_file_path`; the camera is in the file, or each frame's own. A unit of depth is
`depth_unit_scale_factor` metres; where that is not said, Nerfstudio takes millimetres.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tosa_ros.errors import FrameError
from tosa_ros.frames import Intrinsics
from tosa_ros.sources.images import picture_size
from tosa_ros.sources.layouts.axes import OPENGL_TO_OPTICAL
from tosa_ros.sources.layouts.layout import MILLIMETRES, FrameFiles, Layout, Listing
from tosa_ros.sources.layouts.objects import number, object_of, sized_camera
from tosa_ros.sources.matrices import POSE, whole_pose
from tosa_ros.sources.naming import natural

TRANSFORMS = 'transforms.json'
DEPTH_UNIT, SCALE = 'depth_unit_scale_factor', 'applied_scale'
PINHOLES = ('OPENCV', 'PINHOLE', 'SIMPLE_PINHOLE', 'SIMPLE_RADIAL', 'RADIAL', 'PERSPECTIVE')
DISTORTION = ('k1', 'k2', 'k3', 'k4', 'p1', 'p2')


def matches(folder: Path) -> bool:
    """Whether that file is there."""
    return (folder / TRANSFORMS).is_file()


def frames(folder: Path) -> Listing:
    """The frames whose pictures are there, by their names.

    Raises:
        FrameError: a file that is not Nerfstudio's, or none of whose pictures is there.
        DataError: it is not JSON.
    """
    path = folder / TRANSFORMS
    held = object_of(path)
    listed = held.get('frames')
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise FrameError(f"{path}: wanted a list of objects, 'frames'")
    notes: list[str] = []
    found = []
    for index, one in enumerate(listed):
        where = f'{path}, frame {index}'
        image = _file(folder, one.get('file_path'), where)
        if image.is_file():
            found.append(_frame(folder, image, {**held, **one}, where))
    if not found:
        raise FrameError(f'{path}: none of the pictures of its {len(listed)} frames is there')
    if len(found) < len(listed):
        notes.append(f'{len(listed) - len(found)} of the pictures in {TRANSFORMS} are not there')
    units, floats = _units(held, path)
    gone = [one for one in found if one.depth is not None and not one.depth.is_file()]
    if gone:
        notes.append(f'{len(gone)} of the depth files in {TRANSFORMS} are not there')
        found = [replace(one, depth=None) if one in gone else one for one in found]
    if any(one.depth for one in found) and DEPTH_UNIT not in held:
        notes.append(
            f'{TRANSFORMS} has no {DEPTH_UNIT}: depth in whole numbers is taken as millimetres, '
            'as Nerfstudio does (--depth-scale)'
        )
    found.sort(key=lambda one: natural(one.stem))
    if len({one.rgb.stem for one in found}) == len(found):
        found = [replace(one, stem=one.rgb.stem) for one in found]
    return Listing(
        tuple(found), depth_scale=units, float_scale=floats, notes=(*notes, *_doubts(held, listed))
    )


def _frame(folder: Path, image: Path, held: Mapping[str, Any], where: str) -> FrameFiles:
    depth = held.get('depth_file_path')
    return FrameFiles(
        str(image.relative_to(folder) if image.is_relative_to(folder) else image).replace(
            '/', '_'
        ),
        image,
        None if depth is None else _file(folder, depth, where),
        _pose(held, where),
        _camera(held, image, where) if _is_pinhole(held) else None,
    )


def _file(folder: Path, name: Any, where: str) -> Path:
    if not isinstance(name, str) or not name:
        raise FrameError(f'{where}: {name!r} is no name of a file')
    path = folder / name.replace('\\', '/')
    # Blender's sets leave out the ending.
    return path if path.suffix or path.is_file() else path.with_suffix('.png')


def _pose(held: Mapping[str, Any], where: str) -> np.ndarray:
    try:
        matrix = np.asarray(held.get('transform_matrix'), np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.shape not in POSE:
        raise FrameError(f"{where}: wanted 'transform_matrix', 4x4 numbers")
    pose = whole_pose(matrix).copy()
    if held.get(SCALE) is not None:
        scale = number(held, SCALE, where)
        if not scale > 0:
            raise FrameError(f'{where}: {SCALE} is {scale}; wanted a number above 0')
        pose[:3, 3] /= scale
    return pose @ OPENGL_TO_OPTICAL


def _camera(held: Mapping[str, Any], image: Path, where: str) -> Intrinsics | None:
    width, height = map(float, picture_size(image))
    if 'w' in held and 'h' in held:
        width, height = number(held, 'w', where), number(held, 'h', where)
    if 'fl_x' in held:
        fx = number(held, 'fl_x', where)
    elif 'camera_angle_x' in held:
        half = math.tan(number(held, 'camera_angle_x', where) / 2)
        fx = width / 2 / half if half else 0.0
    else:
        return None
    fy = number(held, 'fl_y', where) if 'fl_y' in held else fx
    cx = number(held, 'cx', where) if 'cx' in held else width / 2
    cy = number(held, 'cy', where) if 'cy' in held else height / 2
    return sized_camera(where, fx, fy, cx, cy, width, height)


def _is_pinhole(held: Mapping[str, Any]) -> bool:
    return held.get('camera_model', PINHOLES[0]) in PINHOLES


def _units(held: Mapping[str, Any], path: Path) -> tuple[float, float | None]:
    """Units per metre of whole numbers and of floats, of which nobody knows without a factor."""
    if held.get(DEPTH_UNIT) is None:
        return MILLIMETRES, None
    factor = number(held, DEPTH_UNIT, path)
    if not factor > 0:
        raise FrameError(f'{path}: {DEPTH_UNIT} is {factor}; wanted metres per unit, above 0')
    units = 1 / factor
    # 1 / 0.001 is a little less than 1000.
    return (round(units), round(units)) if abs(units - round(units)) < 1e-6 else (units, units)


def _doubts(held: Mapping[str, Any], listed: list[dict[str, Any]]) -> list[str]:
    every = [{**held, **one} for one in listed]
    notes = []
    if not all(map(_is_pinhole, every)):
        model = next(one['camera_model'] for one in every if not _is_pinhole(one))
        notes.append(f'the camera model {model} is no pinhole: there are no metric points')
    elif any(one.get(name) for one in every for name in DISTORTION):
        notes.append('the distortion of its lens is not undone: points near the edges are off')
    return notes


LAYOUT = Layout(TRANSFORMS, matches, frames)
