"""BagReader: rosbags' reader of any bag, where what cannot be read does not stop the rest.

Imported when a bag is opened: rosbags is an extra.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag1 import ReaderError as Rosbag1Error
from rosbags.rosbag2 import ReaderError as Rosbag2Error
from rosbags.typesys import (
    Stores,
    TypesysError,
    get_types_from_idl,
    get_types_from_msg,
    get_typestore,
)

from tosa_ros.sources.bags.definitions import FOXGLOVE, standard_types
from tosa_ros.sources.bags.translating import CDR, translator

_IDL_FILE = '=' * 80 + '\n'
_MOST_NAMED = 8


class BagReader(AnyReader):
    """A reader that notes what it leaves out.

    Every message comes as CDR: what is not (ROS 1 in an mcap file, Foxglove's images in JSON or
    protobuf) is translated if it is of use here, else its topic is left out. A type that the bag
    does not define is read by ROS 2's own definition.
    """

    def __init__(self, sources: Sequence[Any], notes: Counter[str]) -> None:
        super().__init__(sources)
        self._notes = notes
        self._defined: set[str] = set()
        self._translators: dict[tuple[int, int], Callable[[bytes], Any]] = {}

    def open(self) -> None:
        """Opens the files.

        Raises:
            AnyReaderError: a file cannot be read.
        """
        self.stack = ExitStack()
        try:
            for reader in self.readers:
                self.stack.enter_context(reader)
            found = [one for reader in self.readers for one in reader.connections]
            self.connections = self._readable(found) if self.is2 else found
            self._define()
        except BaseException as error:
            with suppress(Exception):
                self.close()
            if isinstance(error, (Rosbag1Error, Rosbag2Error, TypesysError)):
                raise AnyReaderError(*error.args) from None
            raise

    def deserialize(self, rawdata: bytes, typ: str) -> Any:
        """The message of these bytes."""
        if self.is2 and typ not in self._defined:
            return standard_types().deserialize_cdr(rawdata, typ)
        return super().deserialize(rawdata, typ)

    def messages(
        self,
        connections: Collection[Any] = (),
        start: int | None = None,
        stop: int | None = None,
    ) -> Iterator[tuple[Any, int, Any]]:
        """Connection, time of recording (ns) and bytes, of messages from start to before stop."""
        # Without any, rosbags would read those too that are left out here.
        for connection, received, data in super().messages(
            connections or self.connections, start, stop
        ):
            translate = self._translators.get(_key(connection))
            yield connection, received, translate(data) if translate else data

    def _readable(self, connections: Sequence[Any]) -> list[Any]:
        """The connections whose messages are CDR or become it, by the types of ROS 2."""
        readable, left_out = [], []
        for connection in connections:
            encoding = connection.ext.serialization_format
            if encoding in CDR:
                readable.append(connection)
                continue
            found = translator(encoding, connection.msgtype)
            if found is None:
                left_out.append(f'{connection.topic} ({encoding} {connection.msgtype})')
                continue
            readable.append(connection._replace(msgtype=found.type))
            self._translators[_key(connection)] = found.to_cdr
        if left_out:
            names = ', '.join(sorted(left_out)[:_MOST_NAMED])
            more = f' and {len(left_out) - _MOST_NAMED} more' if left_out[_MOST_NAMED:] else ''
            self._notes[f'topics of other encodings than CDR are left out: {names}{more}'] = 1
        return readable

    def _define(self) -> None:
        """Takes the bag's own definitions, as far as they can be understood."""
        found: dict[str, Any] = {}
        for one in self.connections:
            empty = (
                one.msgdef.format == MessageDefinitionFormat.NONE or not one.msgdef.data.strip()
            )
            if empty or one.msgtype in FOXGLOVE or _key(one) in self._translators:
                continue
            try:
                types = _parsed(one)
            except (TypesysError, AssertionError, ValueError, LookupError):
                self._notes[f'{one.topic}: the definition of {one.msgtype} is damaged'] = 1
                continue
            found.update(types)
            self._defined.add(one.msgtype)
        self.typestore = get_typestore(Stores.EMPTY)
        try:
            self.typestore.register(found)
        except (TypesysError, SyntaxError):
            self._defined.clear()
            self._notes['the definitions of the types are damaged: those of ROS 2 are used'] = 1
        for one in self.connections:
            if one.digest and one.msgtype in self._defined and not self._fits(one):
                self._defined.discard(one.msgtype)
                self._notes[f'{one.topic}: the definition of {one.msgtype} is another one'] = 1

    def _fits(self, connection: Any) -> bool:
        """Whether the definition is the one that the recorder had."""
        try:
            if self.is2:
                return self.typestore.hash_rihs01(connection.msgtype) == connection.digest
            return self.typestore.generate_msgdef(connection.msgtype)[1] == connection.digest
        except LookupError:
            return False  # A type inside it is not there.


def _key(connection: Any) -> tuple[int, int]:
    return id(connection.owner), connection.id


def _parsed(connection: Any) -> dict[str, Any]:
    definition, kind = connection.msgdef.data, connection.msgtype
    if connection.msgdef.format == MessageDefinitionFormat.MSG:
        return get_types_from_msg(definition, kind)
    if not definition.startswith(f'{_IDL_FILE}IDL: '):
        return get_types_from_idl(definition)
    found: dict[str, Any] = {}
    for part in definition.split(_IDL_FILE)[1:]:
        found.update(get_types_from_idl(part.partition('\n')[2]))
    return found
