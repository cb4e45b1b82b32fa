"""Ends a process of the graph on SIGINT, SIGTERM or SIGHUP, at any moment.

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
# How long an executor waits before it looks whether it must end.
LOOK_S = 0.2


class Shutdown:
    """Catches the signals from now on: `requested` shows whether one arrived.

    interrupt: whether what runs may be interrupted; then the first signal raises
        KeyboardInterrupt in the main thread. Further ones change nothing: a launcher passes on
        the Ctrl-C that a terminal has sent already.
    """

    def __init__(self, interrupt: Callable[[], bool] = lambda: False) -> None:
        self.requested = False
        self._interrupt = interrupt
        _on_signals(self._received)

    def spin(self, *nodes: Any, until: Callable[[], object] = lambda: False) -> None:
        """Runs the nodes' callbacks in this thread until a signal arrives or `until` returns true.

        until: asked after every callback, and at least every LOOK_S seconds.
        """
        from rclpy.executors import SingleThreadedExecutor

        executor = SingleThreadedExecutor()
        for node in nodes:
            executor.add_node(node)
        try:
            while not self.requested and not until():
                executor.spin_once(timeout_sec=LOOK_S)
        finally:
            executor.shutdown()

    def _received(self, *_: object) -> None:
        first, self.requested = not self.requested, True
        if first and self._interrupt():
            raise KeyboardInterrupt


def exit_at_once_on_signals() -> None:
    """Until a Shutdown takes over: while modules are imported there is nothing to clean up."""
    _on_signals(lambda *_: exit_now(0))


def exit_with_starter() -> None:
    """Ends this process when the one named by STARTED_BY dies, even if killed (Linux)."""
    starter = os.environ.get(STARTED_BY)
    if starter and sys.platform == 'linux':
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if str(os.getppid()) != starter:  # It died before that.
            exit_now(0)


def exit_now(code: int) -> NoReturn:
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
