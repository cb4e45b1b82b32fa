"""How a process of the graph is told to end: SIGINT and SIGTERM, at any moment of its life.

rclpy's own handlers end the context under threads that still publish, and Python's interrupt
whatever line is being run; here what runs is finished first, and only loading is cut short.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# How long an executor waits before it looks whether it was told to end.
LOOK_S = 0.2


class Ending:
    """Takes note of the signals from now on: `asked` says whether one came.

    interrupt: whether what runs may be interrupted; then the first signal raises
        KeyboardInterrupt in the main thread. Further ones change nothing: a launcher passes on
        the Ctrl-C that a terminal has sent already.
    """

    def __init__(self, interrupt: Callable[[], bool] = lambda: False) -> None:
        self.asked = False
        self._interrupt = interrupt
        for number in SIGNALS:  # SIGINT too: a shell's background jobs ignore it.
            signal.signal(number, self._told)

    def spin(self, *nodes: Any, until: Callable[[], object] = lambda: False) -> None:
        """Runs the nodes' callbacks in this thread until a signal came or `until` gives true.

        until: asked after every callback, and at least every LOOK_S seconds.
        """
        from rclpy.executors import SingleThreadedExecutor

        executor = SingleThreadedExecutor()
        for node in nodes:
            executor.add_node(node)
        try:
            while not self.asked and not until():
                executor.spin_once(timeout_sec=LOOK_S)
        finally:
            executor.shutdown()

    def _told(self, *_: object) -> None:
        first, self.asked = not self.asked, True
        if first and self._interrupt():
            raise KeyboardInterrupt


def leave_at_once_if_told() -> None:
    """Until an Ending takes over: while modules are imported there is nothing to clean up."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: leave(0))


def leave(code: int) -> NoReturn:
    """Ends the process now. Python's own exit takes seconds to take torch's modules apart, and
    crashes threads of torch that still run.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
