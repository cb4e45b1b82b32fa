"""Compressed bags within bounds: rosbags decompresses whatever comes out of a chunk or a file.

Some kilobytes of zstd may be gigabytes of zeros. rosbags has no setting for it, so its
decompressors are replaced by ones that stop where a chunk's own header says, and at a limit.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

MAX_CHUNK_BYTES = 1 << 30
MAX_MESSAGE_BYTES = 1 << 28  # an uncompressed 4K image has 25 million
# A compressed file may become this many times as large, and never more than a disk can take.
MAX_RATIO = 1000
MAX_SMALL_FILE_BYTES = 1 << 30


@functools.cache
def bound_decompression() -> None:
    """Bounds what rosbags decompresses in this process, from now on."""
    import lz4.frame
    from rosbags.rosbag2 import ReaderError, reader, storage_mcap

    zstd = reader.zstd

    def checked(size: int) -> int:
        if not 0 <= size <= MAX_CHUNK_BYTES:
            raise ReaderError(f'A chunk of {size} bytes; at most {MAX_CHUNK_BYTES} are read.')
        return size

    # One byte more than is wanted shows that there is more.
    def chunk_of_zstd(data: bytes, size: int) -> bytes:
        return zstd.ZstdDecompressor().decompress(data, max_length=checked(size) + 1)

    def chunk_of_lz4(data: bytes, size: int) -> bytes:
        return lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=checked(size) + 1)

    def message(data: bytes) -> bytes:
        decompressor = zstd.ZstdDecompressor()
        made = decompressor.decompress(data, max_length=MAX_MESSAGE_BYTES)
        if not decompressor.eof:
            raise ReaderError(
                f'A message of more than {MAX_MESSAGE_BYTES} bytes, or a cut off one.'
            )
        return made

    class BoundedFile(zstd.ZstdFile):
        def __init__(self, file: Any, mode: str = 'rb') -> None:
            at = file.tell()
            compressed = file.seek(0, 2)
            file.seek(at)
            self._left = max(MAX_SMALL_FILE_BYTES, MAX_RATIO * compressed)
            super().__init__(file, mode)

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self._left -= len(data)
            if self._left < 0:
                raise ReaderError(f'A file of more than {MAX_RATIO} times its compressed size.')
            return data

    storage_mcap.DECOMPRESSORS.update(zstd=chunk_of_zstd, lz4=chunk_of_lz4)
    reader.zstd = SimpleNamespace(decompress=message, open=BoundedFile)
