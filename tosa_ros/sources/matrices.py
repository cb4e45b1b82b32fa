"""Text files of matrices: poses, intrinsics, trajectories; read, and written without loss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tosa_ros.errors import FrameError
from tosa_ros.files import read_text, write_text
from tosa_ros.frames import Intrinsics

COLOUR_CAMERA, DEPTH_CAMERA = 'intrinsic_color.txt', 'intrinsic_depth.txt'
Sizes = tuple[tuple[int, int], ...]
POSE: Sizes = ((4, 4), (3, 4))


def read_matrix(path: Path, sizes: Sizes = ((4, 4),)) -> np.ndarray:
    """A matrix of one of some sizes, one row a line.

    Raises:
        FrameError: the file cannot be read, or holds something else.
    """
    return parse_matrix(read_text(path, FrameError).splitlines(), str(path), sizes)


def read_pose(path: Path) -> np.ndarray:
    """A (4, 4) pose of a file, whose last row may be missing; numbers may be infinite or NaN.

    Raises:
        FrameError: the file cannot be read, or holds something else.
    """
    return whole_pose(read_matrix(path, POSE))


def whole_pose(pose: np.ndarray) -> np.ndarray:
    """(4, 4) of (4, 4) or (3, 4)."""
    return pose if len(pose) == 4 else np.vstack([pose, [0.0, 0.0, 0.0, 1.0]])


def parse_matrix(lines: Sequence[str], what: str, sizes: Sizes = ((4, 4),)) -> np.ndarray:
    """A matrix of its lines; `what` names them in errors.

    Raises:
        FrameError: not numbers, or of another size.
    """
    rows = [numbers(line, what) for line in lines if line.strip()]
    if len({len(row) for row in rows}) > 1:
        raise FrameError(f'{what}: not a matrix of numbers: its rows have different lengths')
    matrix = np.array(rows)
    if matrix.shape not in sizes:
        raise FrameError(f'{what}: a matrix of shape {matrix.shape}; wanted {sizes[0]}')
    return matrix


def numbers(line: str, what: str) -> list[float]:
    """The numbers of a line, between spaces or commas.

    Raises:
        FrameError: something else is among them.
    """
    try:
        return [_number(word) for word in line.replace(',', ' ').split()]
    except ValueError as error:
        raise FrameError(f'{what}: not a matrix of numbers: {error}') from error


def _number(word: str) -> float:
    # As programs of Windows write what is no number: -1.#INF, 1.#QNAN.
    return float('nan') if '.#' in word else float(word)


def read_camera(path: Path) -> tuple[float, float, float, float]:
    """fx, fy, cx, cy of a file: a 4x4 or 3x3 camera matrix, or those four numbers in a line.

    Raises:
        FrameError: the file cannot be read, or holds no camera.
    """
    k = read_matrix(path, ((4, 4), (3, 3), (3, 4), (1, 9), (1, 4)))
    if k.shape == (1, 9):
        k = k.reshape(3, 3)
    four = k[0] if len(k) == 1 else (k[0, 0], k[1, 1], k[0, 2], k[1, 2])
    fx, fy, cx, cy = map(float, four)
    try:
        Intrinsics(fx, fy, cx, cy, 1, 1)
    except FrameError as error:
        raise FrameError(f'{path}: {error}') from error
    return fx, fy, cx, cy


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
