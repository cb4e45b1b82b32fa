"""ARKitScenes: files in one folder a kind, named after the video and the time.

`lowres_wide/<video>_<seconds>.png`, `lowres_depth/...png` (millimetres, on colour's view),
`lowres_wide_intrinsics/...pincam` (width height fx fy cx cy), `lowres_wide.traj`: stamp, rotation
vector, translation, world-to-camera. With `vga_wide/` or `wide/` alone, those are colour.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tosa_ros.depth.files import SUFFIXES as DEPTHS
from tosa_ros.errors import FrameError
from tosa_ros.files import read_text
from tosa_ros.frames import Intrinsics
from tosa_ros.pictures import SUFFIXES as PICTURES
from tosa_ros.sources.layouts.axes import from_axis_angle
from tosa_ros.sources.layouts.layout import MILLIMETRES, FrameFiles, Layout, Listing
from tosa_ros.sources.layouts.objects import sized_camera
from tosa_ros.sources.layouts.stamps import nearest, rows
from tosa_ros.sources.matrices import numbers
from tosa_ros.sources.naming import by_stem, files_in

# Colour, and the depth that was taken with it.
KINDS = {
    'lowres_wide': ('lowres_depth',),
    'vga_wide': ('lowres_depth',),
    'wide': ('highres_depth', 'lowres_depth'),
}
POSES = 'lowres_wide.traj'
# As Apple's own reader joins them: names are rounded to milliseconds, and may be one off.
CAMERA_WITHIN_S, POSE_WITHIN_S = 0.001, 0.005


def matches(folder: Path) -> bool:
    """Whether one of the folders of colour is there."""
    return _place(folder) is not None


def frames(folder: Path) -> Listing:
    """The frames.

    Raises:
        FrameError: a camera or a trajectory that cannot be read.
    """
    place = _place(folder)
    if place is None:
        raise FrameError(f'{folder}: wanted {WANTED}')
    base, kind = place
    images = by_stem(files_in(base / kind, PICTURES), PICTURES, 'colour image')
    depths = next(filter(None, (_depths(base / name) for name in KINDS[kind])), {})
    cameras = {_stamp(f.stem): f for f in files_in(base / f'{kind}_intrinsics', ('.pincam',))}
    camera_times = sorted(cameras)
    path = next((p for p in (base / POSES, folder / POSES) if p.is_file()), None)
    track = [] if path is None else rows(path, 7)
    times = [row[0] for row in track]
    files = []
    for stem, image in images.items():
        stamp = _stamp(stem)
        at = nearest(times, stamp, POSE_WITHIN_S)
        pose = None if at is None else _camera_to_world(track[at])
        at = nearest(camera_times, stamp, CAMERA_WITHIN_S)
        camera = None if at is None else _camera(cameras[camera_times[at]])
        files.append(FrameFiles(stem, image, depths.get(stem), pose, camera, stamp))
    notes = [f'{kind}/ is read'] if sum((base / one).is_dir() for one in KINDS) > 1 else []
    for what, where in (('pose', POSES), ('intrinsics', f'{kind}_intrinsics/')):
        lacking = sum(getattr(one, what) is None for one in files)
        if lacking:
            notes.append(f'{lacking} of {len(files)} frames have no {what} in {where}')
    return Listing(tuple(files), depth_scale=MILLIMETRES, aligned=True, notes=tuple(notes))


def _place(folder: Path) -> tuple[Path, str] | None:
    """The folder of folders, which may be the one in it called <video>_frames; and the kind."""
    inner = sorted(folder.glob('*_frames'))
    for base in (folder, *(inner if len(inner) == 1 else ())):
        for kind in KINDS:
            if files_in(base / kind, PICTURES):
                return base, kind
    return None


def _depths(folder: Path) -> dict[str, Path]:
    return by_stem(files_in(folder, DEPTHS), DEPTHS, 'depth file')


def _stamp(stem: str) -> float:
    (seconds,) = numbers(stem.rpartition('_')[2], stem)[:1] or [0.0]
    return seconds


def _camera(path: Path) -> Intrinsics:
    row = numbers(read_text(path, FrameError), str(path))
    if len(row) != 6:
        raise FrameError(f'{path}: {len(row)} numbers; wanted width height fx fy cx cy')
    width, height, *camera = row
    return sized_camera(path, *camera, width, height)


def _camera_to_world(row: list[float]) -> np.ndarray | None:
    if not np.isfinite(row).all():
        return None
    return np.linalg.inv(from_axis_angle(row[1:4], row[4:7]))


WANTED = 'lowres_wide/, vga_wide/ or wide/ with pictures'
LAYOUT = Layout(WANTED, matches, frames)
