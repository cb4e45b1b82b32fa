"""Redwood's and Open3D's sample frames: OpenEQA's, but for the poses, which are in one file.

`trajectory.log` has five lines for each frame, in order: three numbers, then a 4x4
camera-to-world matrix.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tosa_ros.errors import FrameError
from tosa_ros.files import read_text
from tosa_ros.sources.layouts import stems
from tosa_ros.sources.layouts.layout import Layout, Listing
from tosa_ros.sources.matrices import parse_matrix

TRAJECTORY = 'trajectory.log'


def matches(folder: Path) -> bool:
    """Whether the poses are in that file, and in no others."""
    if not (folder / TRAJECTORY).is_file():
        return False
    files = stems.listing(folder).files
    return bool(files) and not any(one.pose for one in files)


def frames(folder: Path) -> Listing:
    """The frames with the trajectory's poses.

    Raises:
        FrameError: another number of poses than of frames.
    """
    poses = read_trajectory(folder / TRAJECTORY, len(stems.colour_images(folder)))
    return stems.listing(folder, poses)


def read_trajectory(path: Path, count: int) -> list[np.ndarray]:
    """The camera-to-world poses of so many frames.

    Raises:
        FrameError: another number of poses, or something else.
    """
    lines = [line for line in read_text(path, FrameError).splitlines() if line.strip()]
    if len(lines) != 5 * count:
        raise FrameError(
            f'{path}: {len(lines)} lines for {count} colour images; wanted 5 for each, in order'
        )
    return [
        parse_matrix(lines[start + 1 : start + 5], f'{path}, pose {start // 5}')
        for start in range(0, len(lines), 5)
    ]


LAYOUT = Layout(f'{stems.WANTED} and {TRAJECTORY}', matches, frames)
