"""Whether packets of an H.264 video are missing (ITU-T H.264, 7.3 and 7.4.3).

libav conceals a lost reference picture without a word, and what comes after it is smeared. The
pictures that others refer to are numbered, so that a gap shows.
"""

from __future__ import annotations

from tosa_ros.messages.key_frames import units

# Profiles whose parameters say more of colour.
_HIGH = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)
_SLICE, _IDR_SLICE, _PARAMETERS = 1, 5, 7
_LONGEST = 512  # bytes of a unit that are looked at


class FrameNumbers:
    """Follows the numbers of one stream."""

    def __init__(self) -> None:
        self._bits: int | None = None  # of a number; None: unknown, or gaps are allowed
        self._planes = False
        self._last = 0

    def gap(self, data: bytes, is_key: bool) -> bool:
        """Whether a picture is missing before this packet that it may refer to."""
        for unit in units(data):
            kind, referred = unit[0] & 31, unit[0] >> 5 & 3
            try:
                bits = _Bits(unit)
                if kind == _PARAMETERS:
                    self._read_parameters(bits)
                elif kind in (_SLICE, _IDR_SLICE):
                    return self._follows_gap(bits, bool(referred), is_key)
            except IndexError:  # A damaged unit, which the decoder will refuse.
                return False
        return False

    def _follows_gap(self, bits: _Bits, referred: bool, is_key: bool) -> bool:
        if self._bits is None:
            return False
        for _ in range(3):
            bits.golomb()
        bits.take(2 * self._planes)
        number = bits.take(self._bits)
        is_next = number in (self._last, (self._last + 1) % (1 << self._bits))
        if referred or is_key:
            self._last = number
        return not is_next and not is_key

    def _read_parameters(self, bits: _Bits) -> None:
        profile = bits.take(8)
        bits.take(16)
        bits.golomb()
        self._planes = False
        if profile in _HIGH:
            chroma = bits.golomb()
            self._planes = chroma == 3 and bool(bits.take(1))
            bits.golomb()
            bits.golomb()
            bits.take(1)
            if bits.take(1):
                for place in range(12 if chroma == 3 else 8):
                    if bits.take(1):
                        _skip_scaling(bits, 16 if place < 6 else 64)
        size = 4 + bits.golomb()
        order = bits.golomb()
        if order == 0:
            bits.golomb()
        elif order == 1:
            bits.take(1)
            bits.golomb()
            bits.golomb()
            for _ in range(bits.golomb()):
                bits.golomb()
        bits.golomb()
        self._bits = None if bits.take(1) else size


class _Bits:
    """Bits of a unit after its first byte, without the bytes that keep start codes out of it."""

    def __init__(self, unit: bytes) -> None:
        data = unit[1:_LONGEST].replace(b'\0\0\3', b'\0\0')
        self._value, self._left = int.from_bytes(data, 'big'), 8 * len(data)

    def take(self, count: int) -> int:
        """A number of so many bits; IndexError past the end."""
        if count > self._left:
            raise IndexError
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1)

    def golomb(self) -> int:
        """An exponential-Golomb number; of signed ones, their code."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


def _skip_scaling(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            code = bits.golomb()
            step = (code + 1) // 2 if code % 2 else -(code // 2)
            following = (last + step) % 256
        last = following or last
