"""Text files of matrices: poses, intrinsics, trajectories; read, and written without loss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tosa_ros.errors import FrameError
from tosa_ros.files import read_text, write_text
from tosa_ros.frames import Intrinsics

COLOUR_CAMERA, DEPTH_CAMERA = 'intrinsic_color.txt', 'intrinsic_depth.txt'


def read_matrix(path: Path, sizes: tuple[tuple[int, int], ...] = ((4, 4),)) -> np.ndarray:
    """A matrix of one of some sizes, one row a line.

    Raises:
        FrameError: the file cannot be read, or holds something else.
    """
    return parse_matrix(read_text(path, FrameError).splitlines(), str(path), sizes)


def parse_matrix(
    lines: Sequence[str], what: str, sizes: tuple[tuple[int, int], ...] = ((4, 4),)
) -> np.ndarray:
    """A matrix of its lines; `what` names them in errors.

    Raises:
        FrameError: not numbers, or of another size.
    """
    try:
        matrix = np.array([[float(x) for x in line.split()] for line in lines if line.strip()])
    except ValueError as error:
        raise FrameError(f'{what}: not a matrix of numbers: {error}') from error
    if matrix.shape not in sizes:
        raise FrameError(f'{what}: a matrix of shape {matrix.shape}; wanted {sizes[0]}')
    return matrix


def read_camera(path: Path) -> tuple[float, float, float, float]:
    """fx, fy, cx, cy of a file with a 4x4 or 3x3 camera matrix.

    Raises:
        FrameError: the file cannot be read, or holds no camera.
    """
    k = read_matrix(path, sizes=((4, 4), (3, 3)))
    camera = (k[0, 0], k[1, 1], k[0, 2], k[1, 2])
    try:
        Intrinsics(*camera, 1, 1)
    except FrameError as error:
        raise FrameError(f'{path}: {error}') from error
    return camera


def write_matrix(path: Path, matrix: np.ndarray) -> None:
    """Writes a matrix so that it is read back exactly."""
    rows = (' '.join(repr(float(x)) for x in row) for row in matrix)
    write_text(path, '\n'.join(rows) + '\n', FrameError)


def write_cameras(
    folder: Path, colour: Intrinsics | None, depth: Intrinsics | None = None
) -> None:
    """Writes the 4x4 intrinsics of a folder's cameras; one camera is both."""
    if colour is None:
        return
    for name, camera in ((COLOUR_CAMERA, colour), (DEPTH_CAMERA, depth or colour)):
        matrix = np.eye(4)
        matrix[:3, :3] = camera.matrix()
        write_matrix(folder / name, matrix)
