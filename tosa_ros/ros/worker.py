"""One thread that works on the newest item only; ROS-free.

Callbacks submit items and return at once, so that a slow model never makes a queue: a newer
item replaces the waiting one, and the dropped one is counted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar('T')


class LatestWorker(Generic[T]):
    """Calls `work(item)` in a thread of its own, for the newest item submitted.

    Whatever `work` raises goes to `on_error`, and the thread lives on.
    """

    def __init__(
        self, work: Callable[[T], None], on_error: Callable[[BaseException], None], name: str
    ) -> None:
        self._work, self._on_error = work, on_error
        self._wake = threading.Condition()
        self._item: T | None = None
        self._busy = self._stopped = False
        self._interval_s = 0.0
        self._allowed = 0.0  # When the next item may begin, monotonic seconds.
        self.dropped = 0
        # A daemon, so that an inference that cannot be interrupted never holds up the exit.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def set_max_rate(self, hertz: float) -> None:
        """The largest number of items to start per second, on average; 0 is no limit.

        One item may begin early, so that items which come at just this rate never wait.
        """
        with self._wake:
            self._interval_s = 1 / hertz if hertz > 0 else 0.0
            self._allowed = 0.0
            self._wake.notify_all()

    def submit(self, item: T) -> None:
        """Makes the item the next one and drops the waiting one."""
        with self._wake:
            self.dropped += self._item is not None
            self._item = item
            self._wake.notify_all()

    def clear(self) -> None:
        """Forgets the waiting item; the current one is finished."""
        with self._wake:
            self._item = None

    def wait_idle(self, timeout_s: float) -> bool:
        """Waits until no item waits or runs; False after the timeout."""
        with self._wake:
            return self._wake.wait_for(lambda: self._item is None and not self._busy, timeout_s)

    def stop(self, timeout_s: float) -> bool:
        """Ends the thread after the current item; False if that runs longer than the timeout."""
        with self._wake:
            self._item, self._stopped = None, True
            self._wake.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (item := self._next()) is not None:
            try:
                self._work(item)
            except BaseException as error:  # A panic in a library's Rust is no Exception.
                self._on_error(error)
            with self._wake:
                self._busy = False
                self._wake.notify_all()

    def _next(self) -> T | None:
        """The item to work on, once there is one and the rate allows; None at the end."""
        with self._wake:
            while not self._stopped:
                now = time.monotonic()
                early_s = self._allowed - now
                if self._item is not None and early_s <= 0:
                    item, self._item, self._busy = self._item, None, True
                    self._allowed = max(self._allowed, now - self._interval_s) + self._interval_s
                    return item
                self._wake.wait(early_s if self._item is not None else None)
        return None
