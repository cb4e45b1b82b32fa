"""Where the depth camera is in the colour camera's frame: as /tf_static says, looked up once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from tosa_ros.errors import RosError
from tosa_ros.messages.transforms import Transforms


class NotYetError(RosError):
    """The transform has not come yet, and there is time left."""


class StaticExtrinsic:
    """Follows /tf_static from the depth camera to the colour camera.

    timeout_s: how long to wait for that from the first question on, by the clock `now`, before
        it is a fault. Messages and questions may come from different threads.
    """

    def __init__(self, timeout_s: float, now: Callable[[], float]) -> None:
        self._timeout_s, self._now = timeout_s, now
        self._transforms, self._lock = Transforms(), threading.Lock()
        self._asked: float | None = None

    def add(self, message: Any) -> None:
        """Takes a message of /tf_static."""
        with self._lock:
            self._transforms.add(message, static=True)

    def __call__(self, depth_frame: str, colour_frame: str) -> np.ndarray:
        """(4, 4): points of the depth camera into the colour camera.

        Raises:
            NotYetError: it is not known yet.
            RosError: it is not known after the timeout.
        """
        with self._lock:
            pose = self._transforms.between(depth_frame, colour_frame, 0)
        if pose is not None:
            return pose
        if self._asked is None:
            self._asked = self._now()
        if self._now() - self._asked < self._timeout_s:
            raise NotYetError(f'no transform from {depth_frame!r} to {colour_frame!r} yet')
        raise RosError(
            f'register: no transform from {depth_frame!r} to {colour_frame!r} on /tf_static '
            f'within {self._timeout_s:g} s: does the driver publish tf? Else set extrinsic'
        )
