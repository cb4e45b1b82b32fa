"""A writer of mcap files, of any profile and with channels of any encoding."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

MAGIC = b'\x89MCAP0\r\n'


class Channel(NamedTuple):
    """schema: the type's name; '' for a channel without schema."""

    topic: str
    schema: str
    schema_encoding: str = 'ros2msg'
    definition: bytes = b''
    encoding: str = 'cdr'


def write_mcap(
    path: Path,
    channels: list[Channel],
    messages: list[tuple[int, int, bytes]],
    profile: str = 'ros2',
    library: str = 'test',
    summary: bool = True,
) -> Path:
    """Writes (index of the channel, time in ns, data) without chunks; summary: with an index."""
    described = b''.join(
        _schema(number, one) + _channel(number, one) for number, one in enumerate(channels, 1)
    )
    body = MAGIC + _record(1, _text(profile) + _text(library)) + described
    for number, (channel, stamp, data) in enumerate(messages):
        body += _record(5, struct.pack('<HIQQ', channel + 1, number, stamp, stamp) + data)
    body += _record(15, bytes(4))
    start = len(body) if summary else 0
    if summary:
        stamps = [stamp for _, stamp, _ in messages] or [0]
        counts = [sum(c == number for c, _, _ in messages) for number in range(len(channels))]
        pairs = b''.join(struct.pack('<HQ', number + 1, n) for number, n in enumerate(counts))
        body += described + _record(
            11,
            struct.pack('<QHIIIIQQ', len(messages), len(channels), len(channels), 0, 0, 0,
                        min(stamps), max(stamps))
            + struct.pack('<I', len(pairs)) + pairs,
        )  # fmt: skip
    path.write_bytes(body + _record(2, struct.pack('<QQI', start, 0, 0)) + MAGIC)
    return path


def _schema(number: int, one: Channel) -> bytes:
    if not one.schema:
        return b''
    data = struct.pack('<I', len(one.definition)) + one.definition
    return _record(
        3, struct.pack('<H', number) + _text(one.schema) + _text(one.schema_encoding) + data
    )


def _channel(number: int, one: Channel) -> bytes:
    ids = struct.pack('<HH', number, number if one.schema else 0)
    return _record(4, ids + _text(one.topic) + _text(one.encoding) + bytes(4))


def _record(opcode: int, content: bytes) -> bytes:
    return struct.pack('<BQ', opcode, len(content)) + content


def _text(text: str) -> bytes:
    return struct.pack('<I', len(text.encode())) + text.encode()
