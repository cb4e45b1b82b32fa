"""Folders to bags, without loss: pixels, raw depth, calibrations, poses, stamps.

A bag has no place for file names: they go into its metadata, where other readers do not mind
them. Stamps are those of the folder's `stamps.txt` or of its layout, where it has some.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np

from tosa_ros.depth import read_depth
from tosa_ros.depth.files import stored_depth
from tosa_ros.depth.fitting import fitted
from tosa_ros.errors import DataError
from tosa_ros.files import read_text
from tosa_ros.frames import Frame, Intrinsics
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
    rotate: int = 0,
    progress: Progress | None = None,
) -> int:
    """Writes a folder's frames as a bag; returns how many.

    Depth in millimetres is written as 16UC1, in other units as 32FC1 metres, which holds them
    exactly. Depth of another size keeps it and gets its own camera_info, where it has a camera.

    Args:
        image_format: 'raw', 'png' (compressed without loss) or 'jpeg' (colour with loss).
        rate_hz: of the stamps, where the folder has none.
        rotate: how far everything is turned clockwise, degrees: 0, 90, 180 or 270.

    Raises:
        DataError: `out` already exists, or a pose is not a rotation and a translation.
    """
    if not rate_hz > 0:
        raise DataError(f'rate: {rate_hz}; wanted frames a second, above 0')
    stamps = _read_stamps(folder, rate_hz)
    custom = {'stems': folder.stems, 'depth_scale': folder.depth_scale}
    with bag_writer(out, storage=storage, image_format=image_format, custom=custom) as write:
        for index, stamp in enumerate(stamps):
            write(_shot(folder, index, stamp, rotate))
            if progress:
                progress(index + 1, len(stamps))
    return len(stamps)


def has_stamps(folder: FrameFolder) -> bool:
    """Whether the folder says when its frames were taken."""
    return (folder.path / STAMPS).is_file() or any(one.stamp for one in folder.files)


def _shot(folder: FrameFolder, index: int, stamp_ns: int, rotate: int) -> Shot:
    files, frame = folder.files[index], folder[index]
    raw = own = None
    if files.depth is not None:
        raw, own = _depth(folder, files.depth, frame)
        raw = np.rot90(raw, -rotate // 90)
    frame = frame.turned(rotate)
    return Shot(
        stamp_ns,
        files.stem,
        frame.rgb,
        raw,
        folder.depth_scale,
        camera=frame.intrinsics,
        depth_camera=own and own.turned(rotate),
        pose=frame.pose,
    )


def _depth(folder: FrameFolder, path: Path, frame: Frame) -> tuple[np.ndarray, Intrinsics | None]:
    """Depth of 16 bits as it is stored, other in metres; and its camera, if not colour's."""
    stored = stored_depth(path)
    if stored.dtype != np.uint16:
        stored = read_depth(path, folder.depth_scale, folder.float_scale)
    height, width = stored.shape
    if (width, height) == (frame.width, frame.height):
        return stored, None  # a folder's depth of colour's size is on colour's pixels
    own = folder.depth_camera(frame, width, height)
    if own is None or frame.intrinsics is None:
        return fitted(stored, frame.width, frame.height), None
    return stored, own


def _read_stamps(folder: FrameFolder, rate_hz: float) -> list[int]:
    """Nanoseconds of each frame: the folder's own, or evenly spread ones."""
    path = folder.path / STAMPS
    if not has_stamps(folder):
        return [START_S * 10**9 + round(i * 1e9 / rate_hz) for i in range(len(folder))]
    if not path.is_file():
        return [round(Decimal(repr(one.stamp)) * 10**9) for one in folder.files]
    try:
        rows = dict(line.split() for line in read_text(path).splitlines())
        return [round(Decimal(rows[stem]) * 10**9) for stem in folder.stems]
    except (ValueError, KeyError, InvalidOperation) as error:
        raise DataError(f'{path}: wanted a stem and seconds for every frame: {error}') from error
