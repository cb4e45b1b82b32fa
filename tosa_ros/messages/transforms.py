"""A tf tree: what tf and tf_static messages say of frames, over time."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import Any

import numpy as np

from tosa_ros.errors import RosError
from tosa_ros.messages.poses import pose_from_message
from tosa_ros.messages.stamps import stamp_ns

MAX_GAP_NS = 500_000_000


class Track:
    """Poses by time; the nearest one within half a second counts."""

    def __init__(self) -> None:
        self._stamps: list[int] = []
        self._poses: list[np.ndarray] = []
        self._sorted = True

    def add(self, stamp: int, pose: np.ndarray) -> None:
        self._sorted = self._sorted and (not self._stamps or stamp >= self._stamps[-1])
        self._stamps.append(stamp)
        self._poses.append(pose)

    def at(self, stamp: int, max_gap_ns: int = MAX_GAP_NS) -> np.ndarray | None:
        if not self._sorted:
            order = np.argsort(self._stamps, kind='stable')
            self._stamps = [self._stamps[i] for i in order]
            self._poses = [self._poses[i] for i in order]
            self._sorted = True
        after = bisect_left(self._stamps, stamp)
        near = [i for i in (after - 1, after) if 0 <= i < len(self._stamps)]
        if not near:
            return None
        best = min(near, key=lambda i: abs(self._stamps[i] - stamp))
        return self._poses[best] if abs(self._stamps[best] - stamp) <= max_gap_ns else None


class Transforms:
    """A tf tree over time."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}
        self._tracks: dict[str, Track] = defaultdict(Track)
        self._static: dict[str, np.ndarray] = {}

    def add(self, message: Any, static: bool) -> None:
        """Takes a tf2_msgs/TFMessage; invalid transforms are left out."""
        for transform in message.transforms:
            child = transform.child_frame_id.lstrip('/')
            try:
                pose = pose_from_message(transform)
            except RosError:
                continue
            self._parents[child] = transform.header.frame_id.lstrip('/')
            if static:
                self._static[child] = pose
            else:
                self._tracks[child].add(stamp_ns(transform.header.stamp), pose)

    def to_root(self, frame: str, stamp: int) -> tuple[str, np.ndarray] | None:
        """The root above a frame, and the frame's pose in it; None where a link is missing."""
        frame, pose, seen = frame.lstrip('/'), np.eye(4), set()
        while frame in self._parents and frame not in seen:
            seen.add(frame)
            link = self._static.get(frame)
            link = self._tracks[frame].at(stamp) if link is None else link
            if link is None:
                return None
            pose, frame = link @ pose, self._parents[frame]
        return (frame, pose) if seen else None

    def between(self, source: str, target: str, stamp: int) -> np.ndarray | None:
        """(4, 4): points of `source` into `target`; None where tf does not connect them."""
        if source.lstrip('/') == target.lstrip('/'):
            return np.eye(4)
        ends = [self.to_root(frame, stamp) for frame in (source, target)]
        roots = [
            (frame.lstrip('/'), np.eye(4)) if end is None else end
            for frame, end in zip((source, target), ends, strict=True)
        ]
        if roots[0][0] != roots[1][0]:
            return None
        return np.linalg.inv(roots[1][1]) @ roots[0][1]
