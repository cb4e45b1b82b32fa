"""The frames for questions: the newest and some before it; ROS-free."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tosa_ros.vlm.tokens import VisualTokens

JUMP_BACK_S = 1.0


@dataclass(frozen=True)
class Seen:
    """A frame's tokens, the camera frame they are in, and when they came (node clock, s)."""

    tokens: VisualTokens
    frame_id: str
    came_s: float


class FrameMemory:
    """The newest frame, and older ones `interval_s` apart, `frames` in all.

    A stamp that jumps back by more than a second means that time was set back: all is forgotten.
    """

    def __init__(self, frames: int, interval_s: float) -> None:
        self._changed = threading.Condition()
        self._newest: Seen | None = None
        self._older: deque[Seen] = deque()
        self._frames, self._interval_s = frames, interval_s

    def set_span(self, frames: int, interval_s: float) -> None:
        """How many frames to remember, and how far apart."""
        with self._changed:
            self._frames, self._interval_s = frames, interval_s
            self._trim()

    def add(self, seen: Seen) -> None:
        """Takes a frame; one older than the newest is ignored."""
        with self._changed:
            stamp, newest = seen.tokens.stamp, self._newest
            if newest is not None and stamp < newest.tokens.stamp - JUMP_BACK_S:
                self._forget()
            elif newest is not None and stamp < newest.tokens.stamp:
                return
            elif newest is not None and stamp > newest.tokens.stamp:
                last = self._older[-1].tokens.stamp if self._older else -float('inf')
                if newest.tokens.stamp - last >= self._interval_s:
                    self._older.append(newest)
            self._newest = seen
            self._trim()
            self._changed.notify_all()

    def forget(self) -> None:
        """Forgets all frames."""
        with self._changed:
            self._forget()

    def frames(self, oldest_s: float, timeout_s: float, stop: Callable[[], bool]) -> list[Seen]:
        """The frames, the oldest first; empty if the newest came before `oldest_s`.

        Waits for a new one as long as `timeout_s`, or until `stop`.
        """
        end = time.monotonic() + timeout_s
        with self._changed:
            while self._newest is None or self._newest.came_s < oldest_s:
                left = end - time.monotonic()
                if left <= 0 or stop():
                    return []
                self._changed.wait(min(left, 0.1))
            return self.kept()

    def kept(self) -> list[Seen]:
        """The frames at present, the oldest first."""
        with self._changed:
            return [] if self._newest is None else [*self._older, self._newest]

    def newest_age_s(self, now: float) -> float | None:
        """How long ago the newest frame came; None if there is none."""
        newest = self._newest
        return None if newest is None else now - newest.came_s

    def _forget(self) -> None:
        self._newest = None
        self._older.clear()

    def _trim(self) -> None:
        while len(self._older) > max(0, self._frames - 1):
            self._older.popleft()
