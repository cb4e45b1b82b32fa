"""The robot side: three lifecycle nodes over the ROS-free core, and what they share.

Only the modules of nodes import rclpy; conversion, pairing and the workers run anywhere.
"""

from __future__ import annotations

from types import ModuleType

from tosa_ros.errors import MissingDependencyError


def require_rclpy(what: str) -> ModuleType:
    """rclpy. Raises MissingDependencyError where no ROS 2 is installed or sourced."""
    try:
        import rclpy
    except ImportError as error:
        why = f'{what} (or source your ROS 2 distribution, which has it)'
        raise MissingDependencyError('ros-rclpy', 'ros', why) from error
    return rclpy
