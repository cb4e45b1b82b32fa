"""Writes frames in OpenEQA's layout, without loss."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tosa_ros.depth import SensorDepth
from tosa_ros.errors import DepthError, FrameError
from tosa_ros.files import write_bytes
from tosa_ros.frames import Frame
from tosa_ros.sources.folder import MILLIMETRES, FrameFolder, read_folder
from tosa_ros.sources.images import png
from tosa_ros.sources.layouts.stems import colour_images
from tosa_ros.sources.matrices import write_cameras, write_matrix


def write_folder(
    path: str | Path, frames: Iterable[Frame], *, depth_scale: float = MILLIMETRES
) -> FrameFolder:
    """Writes frames in the OpenEQA layout, named 00000, 00001, ...; returns the folder read back.

    Colour, poses and intrinsics are kept exactly, depth to half a unit of 1 / depth_scale metres;
    stamps have no place there. Each file appears whole or not at all.

    Raises:
        FrameError: a folder that has frames already, frames of different cameras, relative depth
            (a depth file means metres), or depth that 16 bits do not hold at this scale.
    """
    path, sensor = Path(path), SensorDepth(scale=depth_scale)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FrameError(f'{path}: cannot be made a folder: {error.strerror}') from error
    if colour_images(path):
        raise FrameError(f'{path}: has frames already; give an empty or a new folder')
    camera = None
    for index, frame in enumerate(frames):
        what = f'{path}, frame {index}'
        if index == 0:
            camera = frame.intrinsics
            write_cameras(path, camera)
        elif frame.intrinsics != camera:
            raise FrameError(f'{what}: another camera than frame 0; a folder holds one camera')
        write_frame(path, f'{index:05d}', frame, _raw_depth(what, frame, sensor))
    return read_folder(path, depth_scale=depth_scale)


def write_frame(path: Path, stem: str, frame: Frame, raw_depth: np.ndarray | None) -> None:
    """Writes the files of one frame; depth (H, W) uint16, 0 where there is none.

    Raises:
        FrameError: a file cannot be written.
    """
    if raw_depth is not None:
        write_bytes(path / f'{stem}-depth.png', png(raw_depth), FrameError)
    if frame.pose is not None:
        write_matrix(path / f'{stem}.txt', frame.pose)
    # The colour image makes it a frame of the folder, so that it comes last.
    write_bytes(path / f'{stem}-rgb.png', png(frame.rgb), FrameError)


def _raw_depth(what: str, frame: Frame, sensor: SensorDepth) -> np.ndarray | None:
    if frame.relative_depth is not None:
        raise FrameError(
            f'{what}: its depth is relative, and a depth file means metres; write '
            'frame.without_depth() instead'
        )
    if frame.depth_m is None:
        return None
    try:
        return sensor.to_array(frame.depth_m)
    except DepthError as error:
        raise FrameError(f'{what}: {error}') from error
