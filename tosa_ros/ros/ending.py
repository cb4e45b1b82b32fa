"""How a process of the graph is told to end, by SIGINT, SIGTERM or SIGHUP, at any moment.

rclpy's own handlers end the context under threads that still publish, and Python's interrupt
whatever line is being run; here what runs is finished first, and only loading is cut short.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

STARTED_BY = 'TOSA_STARTED_BY'  # The environment variable with the id of the process above.
_PR_SET_PDEATHSIG = 1
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
        _on_signals(self._told)

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
    _on_signals(lambda *_: leave(0))


def end_with_starter() -> None:
    """Told to end, too, when the process named by STARTED_BY dies, even if killed (Linux)."""
    starter = os.environ.get(STARTED_BY)
    if starter and sys.platform == 'linux':
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if str(os.getppid()) != starter:  # It died before that.
            leave(0)


def leave(code: int) -> NoReturn:
    """Ends the process now. Python's own exit takes seconds to take torch's modules apart, and
    crashes threads of torch that still run.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # A terminal that was closed.
            stream.flush()
    os._exit(code)


def _on_signals(handler: Callable[..., None]) -> None:
    # SIGINT even where it is ignored, as by a shell's background jobs.
    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # As nohup has it.
        signal.signal(signal.SIGHUP, handler)
