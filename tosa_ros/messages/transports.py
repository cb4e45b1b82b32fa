"""Transports: the ways images travel, one row each; nodes and bags read them by this table.

A transport's topic is the image's topic with the transport's name after a slash, as
image_transport has it. A new transport is a row here, with a function that decodes a message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tosa_ros.errors import RosError
from tosa_ros.messages.compressed import compressed_colour, compressed_depth
from tosa_ros.messages.raw import DEPTH_ENCODINGS, quoted, raw_colour, raw_depth

Decode = Callable[[Any], np.ndarray]


@dataclass(frozen=True)
class Transport:
    """One way in which images travel.

    name: image_transport's. type: of its messages. matches: whether a message came this way.
    colour: message -> (H, W, 3) uint8; None where it carries no colour.
    depth: message -> (H, W) uint16 or float32 as the sensor wrote it; None where it carries none.
    """

    name: str
    type: str
    matches: Callable[[Any], bool]
    colour: Decode | None = None
    depth: Decode | None = None

    def topic(self, image: str) -> str:
        """The topic on which this transport carries the image of a topic."""
        return image if self.name == RAW else f'{image}/{self.name}'


RAW = 'raw'


def _format(message: Any) -> str:
    return getattr(message, 'format', '')


TRANSPORTS = (
    Transport(
        RAW,
        'sensor_msgs/msg/Image',
        lambda message: hasattr(message, 'encoding'),
        raw_colour,
        raw_depth,
    ),
    Transport(
        'compressedDepth',
        'sensor_msgs/msg/CompressedImage',
        lambda message: 'compressedDepth' in _format(message),
        depth=compressed_depth,
    ),
    Transport(
        'compressed',
        'sensor_msgs/msg/CompressedImage',
        lambda message: hasattr(message, 'format'),
        compressed_colour,
    ),
)
IMAGE_TYPES = frozenset(transport.type for transport in TRANSPORTS)


def transport(name: str) -> Transport:
    """The transport of a name."""
    return next(one for one in TRANSPORTS if one.name == name)


def transport_of(message: Any) -> Transport:
    """The transport by which a message came.

    Raises:
        RosError: a message of no transport in the table.
    """
    for one in TRANSPORTS:
        if one.matches(message):
            return one
    raise RosError(
        f'image: {type(message).__name__} is not an image; wanted {_listed(TRANSPORTS)}'
    )


def image_topic(topic: str) -> str:
    """The image's own topic, of a transport's topic; a raw image's topic is that already."""
    base, _, name = topic.rpartition('/')
    return base if any(one.name == name != RAW for one in TRANSPORTS) else topic


def rgb_from_message(message: Any) -> np.ndarray:
    """Colour (H, W, 3) uint8 of an image message of any transport.

    Raises:
        RosError: it holds no colour, or its data do not fit its header.
    """
    found = transport_of(message)
    if found.colour is None:
        raise RosError(f'image: format {quoted(_format(message))} is depth, not colour')
    return found.colour(message)


def depth_from_message(message: Any) -> np.ndarray:
    """Depth (H, W) as its sensor wrote it, of an image message of any transport.

    Returns:
        uint16 (REP-118: millimetres, 0 invalid) or float32 (metres; NaN and infinities as
        REP-117 has them). `tosa_ros.depth.SensorDepth` makes metres of either.

    Raises:
        RosError: it holds no depth, or its data do not fit its header.
    """
    found = transport_of(message)
    if found.depth is None:
        raise RosError(
            f'depth: format {quoted(_format(message))} is not depth; wanted '
            "'16UC1; compressedDepth' or '32FC1; ...'"
        )
    return found.depth(message)


def is_depth(message: Any) -> bool:
    """Whether an image message holds depth, by what it says of itself."""
    found = transport_of(message)
    if found.name == RAW:
        return message.encoding in DEPTH_ENCODINGS
    return found.colour is None


def _listed(transports: tuple[Transport, ...]) -> str:
    return ', '.join(dict.fromkeys(one.type for one in transports))
