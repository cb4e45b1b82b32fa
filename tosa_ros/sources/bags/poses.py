"""Camera poses of a bag: from a pose topic, or by following tf from the camera to its root."""

from __future__ import annotations

from typing import Any

import numpy as np

from tosa_ros.errors import RosError
from tosa_ros.messages import pose_from_message, stamp_ns
from tosa_ros.messages.transforms import Track, Transforms


class CameraPoses:
    """Where a bag's camera was: by the pose topic if there is one, else by tf."""

    def __init__(self) -> None:
        self.transforms = Transforms()
        self._track, self._body = Track(), ''

    def add_pose(self, message: Any) -> None:
        """Takes a message of the pose topic."""
        try:
            pose = pose_from_message(message)
        except RosError:
            return
        # An Odometry or TransformStamped says whose pose it is; a PoseStamped means the camera's.
        self._body = getattr(message, 'child_frame_id', '') or ''
        self._track.add(stamp_ns(message.header.stamp), pose)

    def at(self, stamp: int, camera_frame: str) -> np.ndarray | None:
        """Camera-to-world (4, 4) at a time (ns), or None."""
        pose = self._track.at(stamp)
        if pose is not None:
            if not self._body or self._body == camera_frame:
                return pose
            mounted = self.transforms.between(camera_frame, self._body, stamp)
            return None if mounted is None else pose @ mounted
        found = self.transforms.to_root(camera_frame, stamp)
        return None if found is None else found[1]
