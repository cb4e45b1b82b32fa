"""Poses as data sets write them -> (4, 4) camera-to-world of the optical frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tosa_ros.errors import RosError
from tosa_ros.messages.poses import pose_of

# From the axes of OpenGL, Habitat and ARKit (y up, z backward) to the optical frame's, on the
# right of a pose.
OPENGL_TO_OPTICAL = np.diag([1.0, -1.0, -1.0, 1.0])


def from_quaternion(position: Sequence[float], xyzw: Sequence[float]) -> np.ndarray | None:
    """The pose of a position and a quaternion; None where they are none (NaN, length zero)."""
    try:
        return pose_of(position, xyzw)
    except RosError:
        return None


def from_axis_angle(rotation: Sequence[float], position: Sequence[float]) -> np.ndarray:
    """The pose of a rotation vector (its axis times radians) and a position (Rodrigues)."""
    vector = np.asarray(rotation, np.float64)
    angle = float(np.linalg.norm(vector))
    pose = np.eye(4)
    pose[:3, 3] = position
    if angle > 0:
        x, y, z = vector / angle
        k = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
        pose[:3, :3] += np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k)
    return pose
