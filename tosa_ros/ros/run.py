"""Entry points of the node processes: `python -m tosa_ros.ros.run vision_node`, console scripts.

They import little until they can be told to end: Ctrl-C while torch loads is an end, not an error.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys


def run(name: str) -> int:
    """Runs a node until it is told to end; gives the process's exit code."""
    # Threads of several processes that spin while they wait slow one another down tenfold.
    os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
    before = {
        number: signal.signal(number, lambda *_: sys.exit(0))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    main = importlib.import_module(f'tosa_ros.ros.{name}').main
    # From here on rclpy takes care of them.
    for number, handler in before.items():
        signal.signal(number, handler)
    return main()


def depth_node() -> int:
    return run('depth_node')


def vision_node() -> int:
    return run('vision_node')


def qa_node() -> int:
    return run('qa_node')


if __name__ == '__main__':
    # ROS reads the rest of the command line.
    sys.exit(run(sys.argv.pop(1)))
