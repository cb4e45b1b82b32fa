"""Entry points of the node processes: `python -m tosa_ros.ros.run vision_node`, console scripts.

They import little until signals can end them: Ctrl-C while torch loads is an end, not an error.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
import warnings
from typing import NoReturn

from tosa_ros.ros.fastdds import remove_dead_segments
from tosa_ros.ros.shutdown import exit_at_once_on_signals, exit_now, exit_with_starter


def run(name: str) -> NoReturn:
    """Runs a node until a signal ends it, and ends the process with its exit code."""
    exit_at_once_on_signals()
    exit_with_starter()
    # Its own of the last time, if it was killed, and those of others.
    remove_dead_segments()
    # Threads of several processes that spin while they wait slow one another down tenfold.
    os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
    warnings.showwarning = _one_line
    try:
        code = importlib.import_module(f'tosa_ros.ros.{name}').main()
    except Exception:
        traceback.print_exc()
        code = 1
    exit_now(code)


def _one_line(message: Warning | str, *_: object) -> None:
    print(f'tosa_ros: warning: {" ".join(str(message).split())}', file=sys.stderr)


def depth_node() -> NoReturn:
    run('depth_node')


def vision_node() -> NoReturn:
    run('vision_node')


def qa_node() -> NoReturn:
    run('qa_node')


if __name__ == '__main__':
    # ROS reads the rest of the command line.
    run(sys.argv.pop(1))
