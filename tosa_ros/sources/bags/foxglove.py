"""Foxglove's images and calibrations in JSON, protobuf and CDR -> the CDR of messages used here.

Each is read into a dictionary of its fields, whatever the encoding, and written from that.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tosa_ros.sources.bags.definitions import standard_types

Fields = dict[str, Any]
CALIBRATION = 'CameraCalibration'
_INFO = 'sensor_msgs/msg/CameraInfo'
# Field numbers of the .proto files; 1 is the timestamp of all.
_NUMBERS = {
    'CompressedImage': {2: 'data', 3: 'format', 4: 'frame_id'},
    'CompressedVideo': {2: 'frame_id', 3: 'data', 4: 'format'},
    'RawImage': {
        2: 'width', 3: 'height', 4: 'encoding', 5: 'step', 6: 'data', 7: 'frame_id',
    },
    CALIBRATION: {
        2: 'width', 3: 'height', 4: 'distortion_model', 5: 'D', 6: 'K', 7: 'R', 8: 'P',
        9: 'frame_id',
    },
}  # fmt: skip
_TEXTS = ('frame_id', 'format', 'encoding', 'distortion_model')
_MATRICES = {'D': 0, 'K': 9, 'R': 9, 'P': 12}
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5


def kind_of(schema: str) -> str:
    """'CompressedImage' and the like, of 'foxglove.CompressedImage'; empty for others."""
    package, _, name = schema.rpartition('.')
    return name if package == 'foxglove' and name in _NUMBERS else ''


def ros_type(kind: str) -> str:
    """The type of what becomes of it."""
    return _INFO if kind == CALIBRATION else f'foxglove_msgs/msg/{kind}'


def cdr(kind: str, fields: Fields) -> Any:
    """CDR of a message's fields, those that are missing being zero or empty."""
    store = standard_types()
    types, seconds = store.types, fields.get('timestamp', (0, 0))
    header = types['std_msgs/msg/Header'](
        types['builtin_interfaces/msg/Time'](*seconds), fields.get('frame_id', '')
    )
    width, height = fields.get('width', 0), fields.get('height', 0)
    data = np.frombuffer(fields.get('data', b''), np.uint8)
    if kind == CALIBRATION:
        region = types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
        matrices = [_matrix(fields, name) for name in _MATRICES]
        model = fields.get('distortion_model', '')
        made = types[_INFO](header, height, width, model, *matrices, 0, 0, region)
    elif kind == 'RawImage':
        made = types[ros_type(kind)](
            header, width, height, fields.get('encoding', ''), fields.get('step', 0), data
        )
    else:
        made = types[ros_type(kind)](header, data, fields.get('format', ''))
    return store.serialize_cdr(made, ros_type(kind))


def fields_of_json(data: bytes) -> Fields:
    """The fields of a JSON message; its bytes are in base 64."""
    fields = dict(json.loads(bytes(data)))
    stamp = fields.get('timestamp', {})
    fields['timestamp'] = int(stamp.get('sec', 0)), int(stamp.get('nsec', 0))
    fields['data'] = base64.b64decode(fields.get('data', ''), validate=True)
    return fields


def fields_of_protobuf(kind: str) -> Callable[[bytes], Fields]:
    """Reads the fields of a message of this kind."""
    names = _NUMBERS[kind]

    def read(data: bytes) -> Fields:
        fields: Fields = {}
        for number, value in _wire(memoryview(data)):
            name = names.get(number, '')
            if number == 1:
                parts = dict(_wire(value))
                fields['timestamp'] = parts.get(1, 0), parts.get(2, 0)
            elif name in _MATRICES:
                fields.setdefault(name, []).extend(_doubles(value))
            elif name in _TEXTS:
                fields[name] = bytes(value).decode()
            elif name:
                fields[name] = value
        return fields

    return read


def _matrix(fields: Fields, name: str) -> np.ndarray:
    values = np.array(fields.get(name, []), np.float64)
    size = _MATRICES[name]
    if size and values.size != size:
        return np.zeros(size)  # as an uncalibrated camera has it
    return values


def _doubles(value: Any) -> list[float]:
    return np.frombuffer(value, '<f8').tolist()


def _wire(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Field number and value: an int of a number's fields, else its bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
        elif wire == _FIXED_32:
            (value,), at = struct.unpack_from('<I', data, at), at + 4
        else:
            size, at = (8, at) if wire == _FIXED_64 else _varint(data, at)
            if wire not in (_FIXED_64, _BYTES) or at + size > len(data):
                raise ValueError(f'protobuf: field {number} is damaged')
            value, at = data[at : at + size], at + size
        yield number, value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        byte = data[at + place]
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    raise ValueError('protobuf: a number of more than ten bytes')
