"""mcap files as they are found: of any profile, with channels of any encoding.

rosbags reads files of the profile ros2 whose schemas are all ROS's. One JSON or protobuf channel,
and one letter in the header, need not stop the rest: its reader is replaced in place.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from tosa_ros.sources.bags.pieces import PiecedFile

_MAGIC = b'\x89MCAP0\r\n'
_HEADER = struct.Struct('<BQ')  # opcode and length of the record after the magic
_AT = len(_MAGIC) + _HEADER.size
_PROFILE = struct.pack('<I', 4) + b'ros2'  # a string begins with its length


@functools.cache
def read_any_mcap() -> None:
    """Makes rosbags read them in this process, from now on."""
    from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat
    from rosbags.rosbag2 import reader, storage_mcap

    formats = {
        'ros2msg': MessageDefinitionFormat.MSG,
        'ros2idl': MessageDefinitionFormat.IDL,
        'omgidl': MessageDefinitionFormat.IDL,
    }

    def definition(schema: Any) -> MessageDefinition:
        if schema is None or schema.encoding not in formats:
            return MessageDefinition(MessageDefinitionFormat.NONE, '')
        return MessageDefinition(formats[schema.encoding], schema.data)

    def string(file: Any) -> str:
        return storage_mcap.read_bytes(file).decode(errors='replace')  # a schema may be binary

    class McapReader(storage_mcap.McapReader):
        def __init__(self, path: Any) -> None:
            super().__init__(_with_profile(path))

        def messages(
            self, connections: Collection[Any], start: int | None = None, stop: int | None = None
        ) -> Iterator[tuple[Any, int, bytes]]:
            if self.chunks:
                return super().messages(connections, start, stop)
            # A file without an index, as crashes leave them, is nearly in the order of time.
            return self._scanned(self.messages_scan(connections, start, stop))

        def _scanned(self, messages: Iterator[Any]) -> Iterator[Any]:
            """The messages, where others may be read between two of them."""
            at = self.data_start
            while True:
                self.bio.seek(at)
                message = next(messages, None)
                if message is None:
                    return
                at = self.bio.tell()
                yield message

    storage_mcap.get_msgdef, storage_mcap.read_string = definition, string
    reader.Reader.STORAGE_PLUGINS['.mcap'] = McapReader
    reader.DirectoryReader.STORAGE_PLUGINS['mcap'] = McapReader


def _with_profile(path: Path | PiecedFile) -> Any:
    """The file, or one that differs in its header alone, whose profile is then ros2."""
    try:
        with path.open('rb') as file:
            start = file.read(_AT + len(_PROFILE))
    except OSError:
        return path  # which the reader will say
    if len(start) < _AT + len(_PROFILE) or not start.startswith(_MAGIC):
        return path
    opcode, length = _HEADER.unpack_from(start, len(_MAGIC))
    if opcode != 1 or length < len(_PROFILE) or start.endswith(_PROFILE):
        return path
    pieced = isinstance(path, PiecedFile)
    whole, pieces = (path.path, path.pieces) if pieced else (path, [(0, path.stat().st_size)])
    (begin, end), *others = pieces
    if end < _AT + len(_PROFILE):
        return path
    # The reader takes nothing else from the header, so the name may cover what follows it.
    return PiecedFile(whole, [(begin, _AT), _PROFILE, (_AT + len(_PROFILE), end), *others])
