"""rclpy for as long as a command runs, with the Fast DDS profile, in a namespace."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence

from tosa_ros.errors import RosError, printable
from tosa_ros.ros import require_rclpy
from tosa_ros.ros.fastdds import profile_environment, remove_dead_segments

_NAMESPACE = re.compile(r'[A-Za-z_]\w*(/[A-Za-z_]\w*)*', re.ASCII)


def ros_arguments(
    namespace: str = '', topics: Mapping[str, str | None] | None = None, *more: str
) -> list[str]:
    """ROS arguments of a process; topics: a node's name of a topic -> what it is remapped to.

    A topic that is None or empty keeps its name.

    Raises:
        RosError: no namespace of ROS.
    """
    words = ['--ros-args', *more]
    for name, topic in (topics or {}).items():
        words += ['-r', f'{name}:={topic}'] if topic else []
    space = namespace.strip('/')
    if space and not _NAMESPACE.fullmatch(space):
        raise RosError(
            f'namespace {printable(repr(namespace), 80)}; wanted letters, digits and _, in parts '
            'separated by /'
        )
    return words + (['-r', f'__ns:=/{space}'] if space else [])


@contextlib.contextmanager
def session(command: str, arguments: Sequence[str]) -> Iterator[None]:
    """Initialises rclpy without its signal handlers, and shuts it down at the end.

    What killed processes left in shared memory is removed.

    Raises:
        MissingDependencyError: there is no rclpy, which `command` needs.
    """
    rclpy = require_rclpy(command)
    remove_dead_segments()
    os.environ.update(profile_environment(command))  # before DDS reads it
    from rclpy.signals import SignalHandlerOptions

    rclpy.init(args=list(arguments), signal_handler_options=SignalHandlerOptions.NO)
    try:
        yield
    finally:
        rclpy.try_shutdown()
