"""Where frames were seen from: the cameras' poses in the map, as tf has them; ROS-free."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tosa_ros.errors import RosError
from tosa_ros.messages.poses import quaternion
from tosa_ros.messages.transforms import Transforms
from tosa_ros.ros.memory import Seen
from tosa_ros.ros.replies import View

KEEP_NS = 10_000_000_000  # As tf2's buffers do.


class Places:
    """The cameras' poses in the map frame, found while tf still has the frames' time.

    map_frame: empty: no poses. tolerance_s: how much older than a frame the newest transform may
        be. unreadable: why there are no messages, if there are none. Messages and questions may
        come from different threads.
    """

    def __init__(self, map_frame: str, tolerance_s: float, unreadable: str = '') -> None:
        self.map_frame, self._unreadable = map_frame, unreadable
        self._transforms = Transforms(KEEP_NS, round(tolerance_s * 1e9))
        self._found: dict[tuple[float, str], np.ndarray] = {}
        self._lock = threading.Lock()

    @property
    def readable(self) -> bool:
        """Whether messages of tf are of use."""
        return bool(self.map_frame) and not self._unreadable

    def add(self, message: Any) -> None:
        """Takes a message of /tf."""
        with self._lock:
            self._transforms.add(message, static=False)

    def add_static(self, message: Any) -> None:
        """Takes a message of /tf_static."""
        with self._lock:
            self._transforms.add(message, static=True)

    def pose(self, seen: Seen) -> np.ndarray:
        """(4, 4): points of the frame's camera into the map.

        Raises:
            RosError: it is not known, and why.
        """
        if not self.readable:
            raise RosError(self._unreadable or 'no map_frame')
        stamp_s, frame = key = _key(seen)
        with self._lock:
            if key not in self._found:
                stamp = round(stamp_s * 1e9)
                self._found[key] = self._transforms.look_up(frame, self.map_frame, stamp)
            return self._found[key]

    def keep(self, frames: Iterable[Seen]) -> None:
        """Looks these frames up while tf knows of their time, and forgets others."""
        if not self.readable:
            return
        keys = set()
        for seen in frames:
            keys.add(_key(seen))
            with contextlib.suppress(RosError):
                self.pose(seen)
        with self._lock:
            self._found = {key: pose for key, pose in self._found.items() if key in keys}

    def views(self, frames: Sequence[Seen]) -> tuple[tuple[View, ...], str]:
        """What each frame was seen from; why the pose of the newest without one is not known."""
        views, reason, unknown = [], '', 0
        for seen in frames:
            pose = None
            try:
                pose = _numbers(self.pose(seen)) if self.map_frame else None
            except RosError as error:
                reason, unknown = str(error), unknown + 1
            views.append(View(seen.tokens.stamp, seen.frame_id, pose))
        of = f' ({unknown} of {len(frames)} frames)' if unknown and len(frames) > 1 else ''
        return tuple(views), reason + of


def _key(seen: Seen) -> tuple[float, str]:
    return seen.tokens.stamp, seen.frame_id


def _numbers(pose: np.ndarray) -> tuple[float, ...]:
    """x, y, z and a quaternion x, y, z, w, to the micrometre."""
    numbers = (*pose[:3, 3], *quaternion(pose[:3, :3]))
    return tuple(round(float(number), 6) for number in numbers)
