"""rclpy's messages of arrays and cameras; how messages are read is in `tosa_ros.messages`."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np

from tosa_ros.messages.making import MessageMaker
from tosa_ros.ros.topics import ros_type


def byte_array(pixels: np.ndarray) -> array:
    """The bytes of an array as `array('B')`: what rclpy's setters take as it is, fast."""
    data = array('B')
    data.frombytes(np.ascontiguousarray(pixels).data.cast('B'))
    return data


def _sequence(values: np.ndarray) -> array:
    data = array(values.dtype.char)
    data.frombytes(values.data.cast('B'))
    return data


_MAKER = MessageMaker(ros_type, _sequence)
image_message = _MAKER.image
compressed_image_message = _MAKER.compressed
camera_info_message = _MAKER.camera_info


def stamp_message(seconds: float) -> Any:
    """A builtin_interfaces/Time of seconds, to the nanosecond that a float holds."""
    return _MAKER.time(round(seconds * 1e9))
