"""What is not CDR of ROS 2 in a bag -> CDR, for the types of use here: a table of encodings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tosa_ros.sources.bags import foxglove
from tosa_ros.sources.bags.definitions import modern, standard_types

CDR = ('cdr', '')
# Names of ROS 1 that ROS 2 has given up; the messages are the same.
_RENAMED = {'tf/msg/tfMessage': 'tf2_msgs/msg/TFMessage'}


class Translator(NamedTuple):
    """type: ROS 2's name of what comes out. to_cdr: a message's bytes -> CDR."""

    type: str
    to_cdr: Callable[[bytes], Any]


def translator(encoding: str, schema: str) -> Translator | None:
    """How messages of this encoding and type become CDR; None where they do not."""
    return ENCODINGS[encoding](schema) if encoding in ENCODINGS else None


def _ros1(schema: str) -> Translator | None:
    kind = _RENAMED.get(modern(schema), modern(schema))
    store = standard_types()
    if kind not in store.types:
        return None
    return Translator(kind, lambda data: store.ros1_to_cdr(data, kind))


def _json(schema: str) -> Translator | None:
    return _foxglove(schema, lambda _: foxglove.fields_of_json)


def _protobuf(schema: str) -> Translator | None:
    return _foxglove(schema, foxglove.fields_of_protobuf)


def _foxglove(
    schema: str, reader: Callable[[str], Callable[[bytes], foxglove.Fields]]
) -> Translator | None:
    kind = foxglove.kind_of(schema)
    if not kind:
        return None
    read = reader(kind)
    return Translator(foxglove.ros_type(kind), lambda data: foxglove.cdr(kind, read(data)))


ENCODINGS: dict[str, Callable[[str], Translator | None]] = {
    'ros1': _ros1,
    'json': _json,
    'protobuf': _protobuf,
}
