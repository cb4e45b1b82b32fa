"""What RealSense Viewer records beside its images: where the cameras are, and depth's unit.

Every stream has a folder of topics: `<sensor>/Depth_0/image/data`, `<sensor>/Depth_0/tf/0`. The
frame ids say nothing; tf/0 maps points of one reference stream into the stream, and the option
Depth_Units of the sensor is the metres of one unit.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any, NamedTuple

import numpy as np

from tosa_ros.errors import RosError
from tosa_ros.messages import pose_from_message
from tosa_ros.sources.bags.opening import damage_errors
from tosa_ros.sources.bags.topics import BagTopics, first_message

_IMAGE = '/image/data'


class ViewerSays(NamedTuple):
    """moved: (4, 4), the depth camera's pose in colour's frame. scale: depth units per metre.

    Each None where the recording does not have it.
    """

    moved: np.ndarray | None = None
    scale: float | None = None


def viewer_says(bag: Any, topics: BagTopics) -> ViewerSays:
    """What the recording says of these streams; nothing if another program recorded it."""
    if not (topics.image.endswith(_IMAGE) and topics.depth.endswith(_IMAGE)):
        return ViewerSays()
    colour, depth = (topic.removesuffix(_IMAGE) for topic in (topics.image, topics.depth))
    return ViewerSays(_moved(bag, colour, depth), _scale(bag, depth.rpartition('/')[0]))


def _moved(bag: Any, colour: str, depth: str) -> np.ndarray | None:
    """From depth's frame into colour's, over the reference that both have."""
    for topic in sorted({connection.topic for connection in bag.connections}):
        reference = topic.removeprefix(f'{depth}/tf/')
        if reference == topic:
            continue
        messages = _read(bag, topic), _read(bag, f'{colour}/tf/{reference}')
        with contextlib.suppress(RosError, AttributeError):  # no transform, or one of none
            to_depth, to_colour = map(pose_from_message, messages)
            return to_colour @ np.linalg.inv(to_depth)
    return None


def _scale(bag: Any, sensor: str) -> float | None:
    message = _read(bag, f'{sensor}/option/Depth_Units/value')
    metres = getattr(message, 'data', None)
    if not isinstance(metres, int | float | np.number):
        return None
    # A float of 32 bits: 0.001 is not quite that.
    scale = round(1 / float(metres), 2) if math.isfinite(metres) and metres > 0 else 0.0
    return scale if 1 <= scale <= 1e6 else None


def _read(bag: Any, topic: str) -> Any | None:
    with contextlib.suppress(*damage_errors()):
        return first_message(bag, topic)
    return None
