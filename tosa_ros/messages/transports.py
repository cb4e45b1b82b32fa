"""Transports: the ways images travel, one row each; nodes and bags read them by this table.

A transport's topic is the image's topic with the transport's name after a slash, as
image_transport has it. A new transport is a row here, with a function that decodes a message, or
with a decoder that keeps state from message to message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tosa_ros.errors import RosError
from tosa_ros.messages import zstd
from tosa_ros.messages.compressed import compressed_colour, holds_depth, picture_depth
from tosa_ros.messages.compressed_depth import compressed_depth
from tosa_ros.messages.raw import DEPTH_ENCODINGS, quoted, raw_colour, raw_depth
from tosa_ros.messages.video import VideoDecoder, codec_named

Decode = Callable[[Any], np.ndarray]


@dataclass(frozen=True)
class Transport:
    """One way in which images travel.

    name: image_transport's; empty for a layout that has no topic of its own. type: of its
    messages. matches: whether a message came this way. needs: what to install for it.
    colour: message -> (H, W, 3) uint8; None where it carries no colour.
    depth: message -> (H, W) uint16 or float32 as the sensor wrote it; None where it carries none.
    is_depth: whether a message holds depth, by what it says of itself.
    decoder: of a video's messages into raw images; `colour` and `depth` are None then.
    """

    name: str
    type: str
    matches: Callable[[Any], bool]
    colour: Decode | None = None
    depth: Decode | None = None
    is_depth: Callable[[Any], bool] = lambda _: False
    decoder: Callable[[], VideoDecoder] | None = None
    needs: str = ''

    def topic(self, image: str) -> str:
        """The topic on which this transport carries the image of a topic."""
        return image if self.name == RAW else f'{image}/{self.name}'

    def carries(self, holds: str) -> bool:
        """Whether it carries 'colour' or 'depth', as whole images or as a video."""
        return bool(getattr(self, holds)) or (holds == 'colour' and self.decoder is not None)


RAW = 'raw'
_COMPRESSED = 'sensor_msgs/msg/CompressedImage'
_PYAV = 'av (PyAV)'


def _format(message: Any) -> str:
    return getattr(message, 'format', '')


def _is_packet(message: Any) -> bool:
    return hasattr(message, 'encoding') and hasattr(message, 'pts')


def _is_deep_packet(message: Any) -> bool:
    return stated_encoding(message) in DEPTH_ENCODINGS


def _is_video(message: Any) -> bool:
    # Motion JPEG is pictures that need no decoder.
    return codec_named(_format(message).split(';')[0]) not in ('', 'mjpeg')


TRANSPORTS = (
    Transport(
        RAW,
        'sensor_msgs/msg/Image',
        lambda message: hasattr(message, 'encoding') and not _is_packet(message),
        raw_colour,
        raw_depth,
        is_depth=lambda message: message.encoding in DEPTH_ENCODINGS,
    ),
    Transport(
        'compressedDepth',
        _COMPRESSED,
        lambda message: 'compressedDepth' in _format(message),
        depth=compressed_depth,
        is_depth=lambda _: True,
    ),
    Transport(
        'zstd',
        _COMPRESSED,
        lambda message: _format(message) == zstd.FORMAT,
        lambda message: raw_colour(zstd.image_from_zstd(message)),
        lambda message: raw_depth(zstd.image_from_zstd(message)),
        is_depth=lambda message: zstd.stated_encoding(message) in DEPTH_ENCODINGS,
        needs='backports.zstd, before Python 3.14',
    ),
    Transport(
        'ffmpeg',
        'ffmpeg_image_transport_msgs/msg/FFMPEGPacket',
        _is_packet,
        is_depth=_is_deep_packet,
        decoder=VideoDecoder,
        needs=_PYAV,
    ),
    Transport(
        'foxglove',
        'foxglove_msgs/msg/CompressedVideo',
        _is_video,
        decoder=VideoDecoder,
        needs=_PYAV,
    ),
    Transport(
        'compressed',
        _COMPRESSED,
        lambda message: hasattr(message, 'format'),
        compressed_colour,
        picture_depth,
        is_depth=holds_depth,
    ),
)
# Foxglove's messages have the same fields by other names; see sources.bags.definitions.
IMAGE_TYPES = frozenset(
    [
        *(one.type for one in TRANSPORTS),
        'foxglove_msgs/msg/CompressedImage',
        'foxglove_msgs/msg/RawImage',
    ]
)


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
    """Colour (H, W, 3) uint8 of an image message of any transport but a video's.

    Raises:
        RosError: it holds no colour, or its data do not fit its header.
    """
    found = transport_of(message)
    if found.decoder is not None:
        raise RosError(f'image: {_stated(message)} is a part of a video, not a whole image')
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
        raise RosError(f'depth: {_stated(message)} is a part of a video, which carries no depth')
    return found.depth(message)


class ImageStream:
    """The images of one topic: whole ones as they come, those of a video decoded in turn."""

    def __init__(self) -> None:
        self._decoder: VideoDecoder | None = None

    def images(self, message: Any) -> list[Any]:
        """What is ready when a message comes: itself; of a video none, one or several.

        Raises:
            RosError: a packet of a video that is damaged or of an unknown codec.
            MissingDependencyError: PyAV is not installed.
        """
        decoder = transport_of(message).decoder
        if decoder is None:
            return [message]
        if self._decoder is None:
            self._decoder = decoder()
        return self._decoder.images(message)


def is_depth(message: Any) -> bool:
    """Whether an image message holds depth, by what it says of itself."""
    return transport_of(message).is_depth(message)


def preference(message: Any) -> tuple[bool, int]:
    """The smallest is that of the transport to take where an image came by several.

    Whole images go before video, where one depends on others, and exact ones before JPEG.
    """
    found = transport_of(message)
    return found.decoder is not None, TRANSPORTS.index(found)


def stated(message: Any) -> str:
    """What an image message says of its pixels and how they are packed."""
    inside = zstd.stated_encoding(message) if _format(message) == zstd.FORMAT else ''
    return inside or getattr(message, 'encoding', '') or _format(message)


def stated_encoding(message: Any) -> str:
    """The encoding of an image before it was packed, if the message says it, else empty."""
    first, *others = (part.strip() for part in stated(message).split(';'))
    if _is_packet(message):
        return others[-1] if others else ''
    return first if others or transport_of(message).name in (RAW, 'zstd') else ''


def _stated(message: Any) -> str:
    return quoted(stated(message))


def _listed(transports: tuple[Transport, ...]) -> str:
    return ', '.join(dict.fromkeys(one.type for one in transports))
