"""`zstd` of image_transport: an Image's fields, and its data packed as a whole, within bounds."""

from __future__ import annotations

import struct
import zlib
from types import SimpleNamespace
from typing import Any

from tosa_ros.errors import MissingDependencyError, RosError
from tosa_ros.messages.raw import quoted
from tosa_ros.pictures import check_size

FORMAT = 'zstd'
# height, width, is_bigendian, step, length of the encoding's name, which follows
_FIELDS = struct.Struct('<IIBII')
_LONGEST_NAME = 64
_ZSTD = b'\x28\xb5\x2f\xfd'
_MOST_OF_A_PIXEL, _MOST_PADDING = 8, 4096  # bytes, of a pixel and of a row
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


def image_from_zstd(message: Any) -> Any:
    """The Image that a CompressedImage of the transport zstd holds, as an object of its fields.

    Raises:
        RosError: data that are cut off, or more than an image of that size has.
        MissingDependencyError: zstd is not installed.
    """
    what = f'image: format {quoted(message.format)}'
    image, packed = _fields(message, what)
    check_size(image.width, image.height, what, RosError)
    longest_row = _MOST_OF_A_PIXEL * image.width + _MOST_PADDING
    most = min(2 * image.step, longest_row) * image.height  # nv12 has half as many rows again
    image.data = _unpacked(packed, most, what)
    if len(image.data) > most:
        raise RosError(f'{what}: more than {most} bytes of pixels; is it damaged?')
    return image


def stated_encoding(message: Any) -> str:
    """The encoding of the Image inside; empty where the data are damaged."""
    try:
        return _fields(message, '')[0].encoding
    except RosError:
        return ''


def zstd_library() -> Any:
    """Python's zstd module: its own from 3.14 on.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        from compression import zstd  # novermin: Python 3.14 has it, the except is for older ones
    except ImportError:
        try:
            from backports import zstd
        except ImportError as error:
            raise MissingDependencyError('backports.zstd', 'eval', 'reading zstd') from error
    return zstd


def _fields(message: Any, what: str) -> tuple[Any, memoryview]:
    """The Image without its data, and these as they are packed."""
    data = memoryview(message.data)
    if len(data) < _FIELDS.size:
        raise RosError(f'{what}: {len(data)} bytes of data; wanted at least {_FIELDS.size}')
    height, width, bigendian, step, length = _FIELDS.unpack_from(data)
    end = _FIELDS.size + length
    if length > _LONGEST_NAME or len(data) <= end:
        raise RosError(f'{what}: an encoding of {length} letters; is it damaged?')
    encoding = bytes(data[_FIELDS.size : end]).decode('ascii', 'replace').rstrip('\0')
    image = SimpleNamespace(
        header=getattr(message, 'header', None),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=bigendian,
        step=step,
        data=b'',
    )
    return image, data[end:]


def _unpacked(packed: memoryview, most: int, what: str) -> bytes:
    """At most one byte more than `most`."""
    if bytes(packed[:4]) != _ZSTD:
        # Releases before zstd was in it wrote gzip under this name.
        try:
            return zlib.decompressobj(_GZIP_OR_ZLIB).decompress(packed, most + 1)
        except zlib.error as error:
            raise RosError(f'{what}: neither zstd nor gzip: {error}') from error
    zstd = zstd_library()
    try:
        return zstd.ZstdDecompressor().decompress(packed, max_length=most + 1)
    except zstd.ZstdError as error:
        raise RosError(f'{what}: {error}') from error
