"""Poses: ROS positions and quaternions <-> 4x4 matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tosa_ros.errors import RosError


def pose_from_message(message: Any) -> np.ndarray:
    """The (4, 4) float64 matrix of a Pose or Transform, stamped or not, or an Odometry.

    It maps points of the child (or body) frame to the header's frame.

    Raises:
        RosError: a quaternion of length zero, or a number that is not finite.
    """
    while not hasattr(message, 'orientation') and not hasattr(message, 'rotation'):
        inner = getattr(message, 'pose', None) or getattr(message, 'transform', None)
        if inner is None:
            raise RosError(f'pose: {type(message).__name__} holds neither a pose nor a transform')
        message = inner
    transform = hasattr(message, 'rotation')
    q = message.rotation if transform else message.orientation
    t = message.translation if transform else message.position
    return pose_of((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))


def pose_of(position: Sequence[float], xyzw: Sequence[float]) -> np.ndarray:
    """The (4, 4) float64 matrix of a position and a quaternion of any length but zero.

    Raises:
        RosError: a quaternion of length zero, or a number that is not finite.
    """
    translation = np.array(position, np.float64)
    x, y, z, w = quaternion = np.array(xyzw, np.float64)
    norm = float(np.linalg.norm(quaternion))
    if not np.isfinite(translation).all() or not np.isfinite(norm) or norm < 1e-6:
        raise RosError(
            f'pose: translation {translation.tolist()}, quaternion {quaternion.tolist()}; wanted '
            'finite numbers and a quaternion of length 1'
        )
    x, y, z, w = quaternion / norm
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = translation
    return matrix


def quaternion(rotation: np.ndarray) -> tuple[float, float, float, float]:
    """(x, y, z, w), w not negative, of a rotation matrix (3, 3).

    It is the largest eigenvector of Bar-Itzhack's matrix, which is well behaved for every
    rotation (J. Guidance 23(6), 2000).
    """
    (a, b, c), (d, e, f), (g, h, i) = np.asarray(rotation, np.float64)
    symmetric = np.array(
        [
            [a - e - i, b + d, c + g, h - f],
            [b + d, e - a - i, f + h, c - g],
            [c + g, f + h, i - a - e, d - b],
            [h - f, c - g, d - b, a + e + i],
        ]
    )
    x, y, z, w = np.linalg.eigh(symmetric)[1][:, -1]
    sign = 1.0 if w >= 0 else -1.0
    return float(x * sign), float(y * sign), float(z * sign), float(w * sign)


def between_poses(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    """The (4, 4) pose at a share, 0 to 1, of the way from one to the other, turning evenly."""
    ends = [np.array(quaternion(pose[:3, :3])) for pose in (first, second)]
    cosine = float(ends[0] @ ends[1])
    if cosine < 0:  # The same turn, the short way.
        ends[1], cosine = -ends[1], -cosine
    angle = np.arccos(min(1.0, cosine))
    shares = np.array([1 - share, share])
    weights = shares if angle < 1e-6 else np.sin(shares * angle) / np.sin(angle)
    position = shares[0] * first[:3, 3] + shares[1] * second[:3, 3]
    return pose_of(position, weights[0] * ends[0] + weights[1] * ends[1])
