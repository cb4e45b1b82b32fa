"""What an answer looked at, as a PointCloud2: a point for each token of the most weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from std_msgs.msg import Header

from tosa_ros.errors import RosError
from tosa_ros.ros.conversions import stamp_message
from tosa_ros.ros.memory import Seen
from tosa_ros.ros.places import Places
from tosa_ros.ros.token_cloud import cloud_of_points, packed_rgb
from tosa_ros.vlm.evidence import Evidence
from tosa_ros.vlm.tokens import VisualTokens

_LAYOUT = np.dtype(
    [(name, '<f4') for name in ('x', 'y', 'z', 'rgb', 'weight', 'size', 'u', 'v')]
    + [('view', '<u2')],
    align=True,
)


def evidence_cloud(frames: Sequence[Seen], evidence: Evidence, places: Places, count: int) -> Any:
    """The `count` tokens that an answer about these frames looked at most, the most first.

    In the map, of all frames whose pose there is known, if that of the newest is; else in the
    newest frame's camera, of that frame alone, as one cloud is in one frame.
    """
    poses = [_pose(places, seen) for seen in frames]
    if poses[-1] is None:
        poses = [*[None] * (len(frames) - 1), np.eye(4)]
        frame_id = frames[-1].frame_id
    else:
        frame_id = places.map_frame
    clouds = [
        _points(tokens, weights, pose, view)
        for view, (tokens, weights, pose) in enumerate(
            zip(evidence.tokens, evidence.weights, poses, strict=True)
        )
        if pose is not None
    ]
    points = np.concatenate(clouds)
    points = points[np.argsort(-points['weight'], kind='stable')[:count]]
    stamp = stamp_message(frames[-1].tokens.stamp)
    return cloud_of_points(points, Header(stamp=stamp, frame_id=frame_id))


def _pose(places: Places, seen: Seen) -> np.ndarray | None:
    try:
        return places.pose(seen)
    except RosError:
        return None


def _points(tokens: VisualTokens, weights: np.ndarray, pose: np.ndarray, view: int) -> np.ndarray:
    """All tokens of a frame, (T',); x, y and z as the pose (4, 4) moves them."""
    points = np.zeros(len(tokens), _LAYOUT)
    moved = tokens.xyz @ pose[:3, :3].T + pose[:3, 3]
    for axis, field in enumerate('xyz'):
        points[field] = moved[:, axis]
    points['u'], points['v'] = tokens.uv[:, 0], tokens.uv[:, 1]
    points['rgb'], points['size'] = packed_rgb(tokens.rgb), tokens.size
    points['weight'], points['view'] = weights, view
    return points
