"""Folders to bags, without loss: pixels, raw depth, calibrations, poses, stamps.

A bag has no place for file names: they go into its metadata, where other readers do not mind
them. Stamps are the folder's `stamps.txt`, where it has one.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np

from tosa_ros.errors import DataError
from tosa_ros.files import read_text
from tosa_ros.frames import Intrinsics
from tosa_ros.pictures import open_picture
from tosa_ros.sources.bags.writing import START_S, Shot, bag_writer
from tosa_ros.sources.folder import FrameFolder

STAMPS = 'stamps.txt'
Progress = Callable[[int, int], None]


def folder_to_bag(
    folder: FrameFolder,
    out: Path,
    *,
    storage: str = 'mcap',
    image_format: str = 'raw',
    rate_hz: float = 1.0,
    progress: Progress | None = None,
) -> int:
    """Writes a folder's frames as a bag; returns how many.

    Depth in millimetres is written as 16UC1, in other units as 32FC1 metres, which holds them
    exactly. Depth of another size keeps it and gets its own camera_info.

    Args:
        image_format: 'raw', 'png' (compressed without loss) or 'jpeg' (colour with loss).
        rate_hz: of the stamps, where the folder has no stamps.txt.

    Raises:
        DataError: `out` already exists, or a pose is not a rotation and a translation.
    """
    if not rate_hz > 0:
        raise DataError(f'rate: {rate_hz}; wanted frames a second, above 0')
    stamps = _read_stamps(folder, rate_hz)
    custom = {'stems': folder.stems, 'depth_scale': folder.depth_scale}
    with bag_writer(out, storage=storage, image_format=image_format, custom=custom) as write:
        for index, stamp in enumerate(stamps):
            write(_shot(folder, index, stamp))
            if progress:
                progress(index + 1, len(stamps))
    return len(stamps)


def _shot(folder: FrameFolder, index: int, stamp_ns: int) -> Shot:
    files, frame = folder.files[index], folder[index]
    raw = None if files.depth is None else _read_depth(files.depth)
    own = None if raw is None else _own_camera(folder, raw, frame.intrinsics)
    return Shot(
        stamp_ns,
        files.stem,
        frame.rgb,
        raw,
        folder.depth_scale,
        camera=frame.intrinsics,
        depth_camera=own,
        pose=frame.pose,
    )


def _own_camera(
    folder: FrameFolder, raw: np.ndarray, colour: Intrinsics | None
) -> Intrinsics | None:
    """The depth camera, where it is not colour's."""
    if folder.depth_intrinsics is None or colour is None:
        return None
    height, width = raw.shape
    if (width, height) == (colour.width, colour.height):
        return None  # a folder's depth of colour's size is on colour's pixels
    fx, fy, cx, cy = map(float, folder.depth_intrinsics)
    return Intrinsics(fx, fy, cx, cy, width, height)


def _read_depth(path: Path) -> np.ndarray:
    picture = open_picture(path, str(path), DataError, ('PNG',))
    return np.asarray(picture).astype(np.uint16)


def _read_stamps(folder: FrameFolder, rate_hz: float) -> list[int]:
    """Nanoseconds of each frame: the folder's own, or evenly spread ones."""
    path = folder.path / STAMPS
    if not path.is_file():
        return [START_S * 10**9 + round(i * 1e9 / rate_hz) for i in range(len(folder))]
    try:
        rows = dict(line.split() for line in read_text(path).splitlines())
        return [round(Decimal(rows[stem]) * 10**9) for stem in folder.stems]
    except (ValueError, KeyError, InvalidOperation) as error:
        raise DataError(f'{path}: wanted a stem and seconds for every frame: {error}') from error
