"""Stamps of messages: as seconds, as whole nanoseconds, and read from serialised messages."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

_LITTLE, _BIG = struct.Struct('<iI'), struct.Struct('>iI')
_SECOND_NS = 1_000_000_000


def stamp_s(stamp: Any) -> float:
    """Seconds of a builtin_interfaces/Time (ROS 2) or a time of a ROS 1 bag."""
    return float(stamp.sec) + 1e-9 * stamp.nanosec


def stamp_ns(stamp: Any) -> int:
    """Nanoseconds of a builtin_interfaces/Time; exact, so fit to match messages by."""
    return int(stamp.sec) * _SECOND_NS + int(stamp.nanosec)


def header_stamp_ns(data: Any, ros1: bool = False) -> int:
    """Nanoseconds of a serialised message whose first field is a Header, not decoding the rest.

    ROS 2 (CDR) has four bytes of encapsulation before the stamp, ROS 1 the sequence number.

    Raises:
        struct.error: fewer than 12 bytes.
    """
    little = ros1 or data[1] % 2 == 1
    seconds, nanoseconds = (_LITTLE if little else _BIG).unpack_from(data, 4)
    return seconds * _SECOND_NS + nanoseconds


def split_ns(nanoseconds: int) -> tuple[int, int]:
    """Seconds and nanoseconds, as a Time has them."""
    return divmod(nanoseconds, _SECOND_NS)


def header_of(message: Any) -> Any:
    """A message's header; of one of Foxglove's, an object with the same fields."""
    if hasattr(message, 'header'):
        return message.header
    return SimpleNamespace(stamp=message.timestamp, frame_id=message.frame_id)
