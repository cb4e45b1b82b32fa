"""Definitions of messages for bags that bring none, and for types with fields renamed here."""

from __future__ import annotations

import functools
from typing import Any

FFMPEG_PACKET = 'ffmpeg_image_transport_msgs/msg/FFMPEGPacket'
# Foxglove's messages begin with a stamp and a frame: on the wire, that is a Header.
FOXGLOVE = {
    'foxglove_msgs/msg/CompressedVideo': 'uint8[] data\nstring format',
    'foxglove_msgs/msg/CompressedImage': 'uint8[] data\nstring format',
    'foxglove_msgs/msg/RawImage': (
        'uint32 width\nuint32 height\nstring encoding\nuint32 step\nuint8[] data'
    ),
}
_FFMPEG_FIELDS = (
    'int32 width\nint32 height\nstring encoding\nuint64 pts\nuint8 flags\nbool is_bigendian\n'
    'uint8[] data'
)


@functools.cache
def standard_types() -> Any:
    """rosbags' store of the types of ROS 2, with those of images that are not in it."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    for name, fields in {FFMPEG_PACKET: _FFMPEG_FIELDS, **FOXGLOVE}.items():
        store.register(get_types_from_msg(f'std_msgs/Header header\n{fields}', name))
    return store


def modern(kind: str) -> str:
    """A type's name as ROS 2 has it, of 'sensor_msgs/Image' or 'sensor_msgs/msg/Image'."""
    package, _, rest = kind.partition('/')
    return kind if rest.startswith('msg/') else f'{package}/msg/{rest}'
