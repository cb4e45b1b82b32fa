"""Which packets of a video can be decoded without an earlier one, by their first bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

_START_CODE = b'\0\0\1'


def is_key_frame(codec: str, data: bytes) -> bool:
    """Whether a packet of a codec in KEYS holds a key frame.

    H.264 and H.265 are in Annex B (start codes), AV1 in its low-overhead format.
    """
    return KEYS[codec](data)


def _h264(data: bytes) -> bool:
    for unit in units(data):
        kind = unit[0] & 31
        if kind in (5, 7):  # IDR slice, sequence parameters
            return True
        if 1 <= kind <= 4:
            return False
    return False


def _hevc(data: bytes) -> bool:
    for unit in units(data):
        kind = unit[0] >> 1 & 63
        if 16 <= kind <= 21 or kind in (32, 33):  # IRAP, video and sequence parameters
            return True
        if kind < 16:
            return False
    return False


def units(data: bytes) -> Iterator[bytes]:
    """The NAL units of a packet in Annex B, one after another; none is empty."""
    begin = data.find(_START_CODE)
    while begin >= 0:
        begin += len(_START_CODE)
        end = data.find(_START_CODE, begin)
        unit = data[begin : end if end >= 0 else len(data)]
        if unit:
            yield unit
        begin = end


def _av1(data: bytes) -> bool:
    """Key frames come with a sequence header."""
    at = 0
    while at < len(data):
        kind, extended, sized = data[at] >> 3 & 15, data[at] >> 2 & 1, data[at] >> 1 & 1
        if kind == 1:
            return True
        if kind in (3, 6) or not sized:  # a frame, or a unit that lasts to the end
            return False
        at += 1 + extended
        size = place = 0
        while at < len(data):
            byte = data[at]
            size |= (byte & 127) << place
            at, place = at + 1, place + 7
            if byte < 128 or place > 56:
                break
        at += size
    return False


def _vp9(data: bytes) -> bool:
    """Two bits 10, two of the profile, one more in profile 3, show_existing_frame, not key."""
    if not data or data[0] >> 6 != 2:
        return False
    shift = 1 if data[0] >> 4 & 3 == 3 else 2
    return data[0] >> shift & 3 == 0


KEYS: dict[str, Callable[[bytes], bool]] = {
    'h264': _h264,
    'hevc': _hevc,
    'av1': _av1,
    'vp9': _vp9,
    'vp8': lambda data: bool(data) and not data[0] & 1,
    'mjpeg': bool,
}
