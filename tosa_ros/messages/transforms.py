"""A tf tree: what tf and tf_static messages say of frames, over time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from itertools import pairwise
from typing import Any

import numpy as np

from tosa_ros.errors import RosError
from tosa_ros.messages.poses import between_poses, pose_from_message
from tosa_ros.messages.stamps import stamp_ns

MAX_GAP_NS = 500_000_000
MAX_FRAMES = 10_000  # Anybody in the domain may publish on /tf.


class Track:
    """Poses by time.

    keep_ns: older ones than this, against the newest, are forgotten; None keeps all. Where they
        are, a stamp that is older by more than that means that time was set back: what was
        known before is forgotten.
    """

    def __init__(self, keep_ns: int | None = None) -> None:
        self._stamps: list[int] = []
        self._poses: list[np.ndarray] = []
        self._keep_ns = keep_ns

    def add(self, stamp: int, pose: np.ndarray) -> None:
        """Takes a pose; of two at one time the later counts."""
        if self._keep_ns is not None and self._stamps:
            if stamp < self._stamps[-1] - self._keep_ns:
                self._stamps, self._poses = [], []
            elif stamp - self._stamps[0] > 2 * self._keep_ns:  # Seldom, as it moves all.
                old = bisect_left(self._stamps, stamp - self._keep_ns)
                del self._stamps[:old], self._poses[:old]
        place = bisect_right(self._stamps, stamp)
        self._stamps.insert(place, stamp)
        self._poses.insert(place, pose)

    def at(self, stamp: int, beyond_ns: int = MAX_GAP_NS) -> np.ndarray | None:
        """The pose at a time, between two that are near it, or one alone.

        beyond_ns: before the first and after the last pose, how far off that may be. Between two
            poses the nearer one is at most MAX_GAP_NS off.
        """
        after = bisect_right(self._stamps, stamp)
        before = after - 1
        if before >= 0 and self._stamps[before] == stamp:
            return self._poses[before]
        if 0 < after < len(self._stamps):
            start, end = self._stamps[before], self._stamps[after]
            if min(stamp - start, end - stamp) > MAX_GAP_NS:
                return None
            share = (stamp - start) / (end - start)
            return between_poses(self._poses[before], self._poses[after], share)
        off = self.off_ns(stamp)
        return None if off is None or abs(off) > beyond_ns else self._poses[0 if not after else -1]

    def off_ns(self, stamp: int) -> int | None:
        """How much later than the nearest pose a time is, negative for earlier; None without."""
        near = bisect_left(self._stamps, stamp)
        neighbours = self._stamps[max(0, near - 1) : near + 1]
        return min((stamp - one for one in neighbours), key=abs, default=None)


class Transforms:
    """A tf tree over time.

    keep_ns: as `Track` has it. beyond_ns: how far off the first or the last transform of a frame
        may be.
    """

    def __init__(self, keep_ns: int | None = None, beyond_ns: int = MAX_GAP_NS) -> None:
        self.beyond_ns = beyond_ns
        self._parents: dict[str, str] = {}
        self._tracks: dict[str, Track] = defaultdict(lambda: Track(keep_ns))
        self._static: dict[str, np.ndarray] = {}

    def add(self, message: Any, static: bool) -> None:
        """Takes a tf2_msgs/TFMessage; invalid transforms are left out."""
        for transform in message.transforms:
            child = transform.child_frame_id.lstrip('/')
            if child not in self._parents and len(self._parents) >= MAX_FRAMES:
                continue
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
        chain = self._above(frame)
        try:
            return (chain[-1], self._climb(chain, stamp)) if len(chain) > 1 else None
        except RosError:
            return None

    def between(self, source: str, target: str, stamp: int) -> np.ndarray | None:
        """(4, 4): points of `source` into `target`; None where tf does not connect them."""
        try:
            return self.look_up(source, target, stamp)
        except RosError:
            return None

    def look_up(self, source: str, target: str, stamp: int) -> np.ndarray:
        """(4, 4): points of `source` into `target` at a time (ns).

        Raises:
            RosError: tf does not connect them, or not at that time; it says which link lacks.
        """
        chains = [self._above(frame) for frame in (source, target)]
        common = next((frame for frame in chains[0] if frame in chains[1]), None)
        if common is None:
            raise RosError(f'tf does not connect {source!r} to {target!r}')
        chains = [chain[: chain.index(common) + 1] for chain in chains]
        up, down = (self._climb(chain, stamp) for chain in chains)
        return np.linalg.inv(down) @ up

    def _above(self, frame: str) -> list[str]:
        """A frame and those above it, up to the root."""
        chain = [frame.lstrip('/')]
        while (parent := self._parents.get(chain[-1])) is not None and parent not in chain:
            chain.append(parent)
        return chain

    def _climb(self, chain: list[str], stamp: int) -> np.ndarray:
        """The pose of a chain's first frame in its last."""
        pose = np.eye(4)
        for child, parent in pairwise(chain):
            link = self._static.get(child)
            link = self._tracks[child].at(stamp, self.beyond_ns) if link is None else link
            if link is None:
                raise RosError(self._why(child, parent, stamp))
            pose = link @ pose
        return pose

    def _why(self, child: str, parent: str, stamp: int) -> str:
        off_s = (self._tracks[child].off_ns(stamp) or 0) * 1e-9
        when = 'older' if off_s > 0 else 'newer'
        return (
            f'the nearest transform from {child!r} to {parent!r} is {abs(off_s):.2f} s {when} '
            'than the frame'
        )
