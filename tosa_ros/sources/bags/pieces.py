"""PiecedFile: a file made of parts of another file and of bytes, read without a copy."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

# From where to where in the file, or the bytes themselves.
Piece = tuple[int, int] | bytes


class PiecedFile:
    """Pieces one after another. Implements as much of a path as rosbags asks for."""

    def __init__(self, path: Path, pieces: Sequence[Piece]) -> None:
        self.path, self.pieces = path, list(pieces)
        self.suffix = path.suffix

    def __str__(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        return True

    def is_dir(self) -> bool:
        return False

    def open(self, mode: str = 'rb') -> IO[bytes]:
        return io.BufferedReader(_Pieces(self.path, self.pieces), 1 << 20)


class _Pieces(io.RawIOBase):
    def __init__(self, path: Path, pieces: Sequence[Piece]) -> None:
        self._file = path.open('rb', buffering=0)
        self._pieces = pieces
        self._size = sum(map(_size, pieces))
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        # As in a real file's reader, nothing lies behind the end.
        self._at = min(max(0, base + offset), self._size)
        return self._at

    def readinto(self, buffer: Any) -> int:
        view, start, count = memoryview(buffer).cast('B'), self._at, 0
        for piece in self._pieces:
            size = _size(piece)
            if start < size:
                room = view[: size - start]
                if isinstance(piece, bytes):
                    count = len(room)
                    room[:] = piece[start : start + count]
                else:
                    self._file.seek(piece[0] + start)
                    count = self._file.readinto(room) or 0
                break
            start -= size
        self._at += count
        return count

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _size(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
