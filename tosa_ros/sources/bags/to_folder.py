"""Bags to folders in OpenEQA's layout, without loss: pixels, raw depth, calibrations, poses.

A folder has no place for stamps: they go into `stamps.txt`, which other readers do not mind.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tosa_ros.depth import SensorDepth, register_depth
from tosa_ros.errors import DataError, DepthError
from tosa_ros.files import new_folder, write_text
from tosa_ros.frames import Frame, Intrinsics
from tosa_ros.messages import depth_from_message
from tosa_ros.sources.bags.from_folder import STAMPS, Progress
from tosa_ros.sources.bags.reading import BagFrames
from tosa_ros.sources.bags.writing import CUSTOM_KEY
from tosa_ros.sources.folder import MILLIMETRES
from tosa_ros.sources.matrices import write_cameras
from tosa_ros.sources.writing import write_frame


def bag_to_folder(
    frames: BagFrames,
    out: Path,
    *,
    every: int = 1,
    depth_scale: float | None = None,
    rotate: int = 0,
    progress: Progress | None = None,
) -> int:
    """Writes a bag's frames as a folder in OpenEQA's layout; returns how many.

    Depth of 16 bits keeps its units, those of `frames.depth_scale`; 32FC1 is written in units of
    1 / depth_scale metres (by default what the bag was made from, else millimetres). Depth of
    another camera is registered to colour, but where the folder's reader does that: of another
    size, at the same place.

    rotate: how far everything is turned clockwise, degrees: 0, 90, 180 or 270.

    Raises:
        DataError: `out` already exists, depth does not fit 16 bits at that scale, or 16-bit depth
            has another scale than the one that is given.
        DepthError: a scale that is none.
        RosError: an image cannot be read.
    """
    if every < 1:
        raise DataError(f'every: {every}; wanted 1 or more')
    chosen = range(0, len(frames), every)
    with new_folder(out) as place, frames.opened() as bag:
        place.mkdir()
        names = _custom(bag)
        stems = _stems(names.get('stems'), len(frames))
        scale = _units(frames, names.get('depth_scale', MILLIMETRES), depth_scale)
        colour_camera = depth_camera = None
        for done, index in enumerate(chosen, start=1):
            frame, stem = frames.frame(bag, index), stems[index]
            raw, own = _raw_depth(frames, bag, index, frame, scale, stem)
            frame, own = frame.turned(rotate), own and own.turned(rotate)
            raw = None if raw is None else np.rot90(raw, -rotate // 90)
            write_frame(place, stem, frame, raw)
            colour_camera, depth_camera = frame.intrinsics, own or depth_camera
            if progress:
                progress(done, len(chosen))
        write_cameras(place, colour_camera, depth_camera)
        lines = (f'{stems[i]} {_seconds(frames.stamps_ns[i])}\n' for i in chosen)
        write_text(place / STAMPS, ''.join(lines))
    return len(chosen)


def _stems(kept: Any, count: int) -> list[str]:
    """The names that the bag has kept, if they can be names of files here; else numbers."""
    if (
        isinstance(kept, list)
        and all(isinstance(one, str) and _is_name(one) for one in kept)
        and len(set(kept)) == len(kept) == count
    ):
        return kept
    return [f'{i:06d}' for i in range(count)]


def _is_name(stem: str) -> bool:
    hidden = stem.startswith('.')
    return bool(stem) and not hidden and stem == Path(stem).name and stem.isprintable()


def _units(frames: BagFrames, made_from: float, wanted: float | None) -> float:
    """Units per metre of the written depth files."""
    if frames.depth_is_metric:
        return SensorDepth(scale=made_from if wanted is None else wanted).scale
    if wanted not in (None, frames.depth_scale):
        raise DataError(
            f'depth_scale {wanted:g}: the bag has depth of 16 bits, {frames.depth_scale:g} units '
            'a metre, which is written as it is'
        )
    return frames.depth_scale


def _raw_depth(
    frames: BagFrames, bag: Any, index: int, frame: Frame, scale: float, stem: str
) -> tuple[np.ndarray | None, Intrinsics | None]:
    """Depth as 16 bits; and its camera, where it has that camera's pixels, not colour's.

    A folder registers depth of another size by cameras at the same place. Depth stays as it was
    seen only where that gives the frame's depth again.
    """
    message, own = frames.depth_message(bag, index), frames.depth_camera
    if message is None or frame.depth_m is None:
        return None, None
    raw = depth_from_message(message)
    sensor = SensorDepth(scale=scale)
    metres = sensor.from_array(raw) if raw.dtype == np.uint16 else raw
    if not _reads_back(metres, own, frame):
        metres, own = frame.depth_m, None
    try:
        units = sensor.to_array(metres)
    except DepthError as error:
        raise DataError(f'frame {stem}: {error} (--depth-scale)') from error
    return units, own


def _reads_back(metres: np.ndarray, own: Intrinsics | None, frame: Frame) -> bool:
    if own is None or frame.intrinsics is None:
        return False
    if metres.shape != (own.height, own.width) or metres.shape == frame.rgb.shape[:2]:
        return False
    registered = register_depth(metres, own, frame.intrinsics)
    return np.array_equal(registered, frame.depth_m, equal_nan=True)


def _seconds(stamp_ns: int) -> str:
    return f'{stamp_ns // 10**9}.{stamp_ns % 10**9:09d}'  # a float would not hold them all


def _custom(bag: Any) -> dict[str, Any]:
    metadata = getattr(getattr(bag.readers[0], 'storage', None), 'metadata', None)
    custom = getattr(metadata, 'custom', None) or {}
    return json.loads(custom[CUSTOM_KEY]) if CUSTOM_KEY in custom else {}
