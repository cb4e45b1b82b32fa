"""Images from anywhere: the one place where files and bytes become pixels.

Only few formats are read, by Pillow's own decoders; what would not fit in memory, or fills it when
it is made square, is refused by its header, before a pixel is decoded.
"""

from __future__ import annotations

import contextlib
import io
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from tosa_ros.errors import MissingDependencyError, TosaError, printable

FORMATS = ('PNG', 'JPEG', 'WEBP', 'BMP', 'PPM')
# As files of photos are called, in lower case.
SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp', '.bmp', '.ppm', '.heic', '.heif')
HEIC = 'HEIF'  # to pillow-heif
_HEIC_BRANDS = (b'heic', b'heix', b'heim', b'heis', b'hevc', b'hevx', b'mif1', b'msf1')
MAX_PIXELS = 40_000_000  # 8K is 33 million
MAX_SIDE_PX = 12_000
MAX_ASPECT = 40
_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a PNG's colour type
# Adam7: first column and row, and steps.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
           (0, 1, 1, 2))  # fmt: skip
_READ_BYTES = 1 << 20


def open_picture(
    source: Path | bytes | memoryview,
    what: str,
    error: type[TosaError],
    formats: Sequence[str] = FORMATS,
) -> Image.Image:
    """A picture, decoded as a whole.

    Args:
        what: how a message calls it.
        formats: Pillow's names of those that are read.

    Raises:
        error: a file that is missing, of another format, damaged, cut off, or too large.
    """
    with _opened(source, what, error, formats) as picture:
        picture.load()
    if picture.format == 'PNG' and _may_lack_rows(picture):
        _check_rows(source if not isinstance(source, Path) else source.read_bytes(), what, error)
    return picture


def read_size(path: Path, what: str, error: type[TosaError]) -> tuple[int, int]:
    """The width and height of a picture, by its header; raises as `open_picture`."""
    with _opened(path, what, error, FORMATS) as picture:
        return picture.size


@contextlib.contextmanager
def _opened(
    source: Path | bytes | memoryview, what: str, error: type[TosaError], formats: Sequence[str]
) -> Iterator[Image.Image]:
    """A picture whose header was read; faults that are found while it is open are `error`."""
    if isinstance(source, Path) and formats is FORMATS and _is_heic(source):
        _load_heic(what)
        formats = (HEIC,)
    wanted = ' or '.join([', '.join(formats[:-1]), formats[-1]] if formats[1:] else formats)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # Of large pictures; ours is the stricter limit.
            picture = Image.open(
                source if isinstance(source, Path) else io.BytesIO(source), formats=formats
            )
        with picture:
            check_size(*picture.size, what, error)
            yield picture
    except TosaError:
        raise
    except UnidentifiedImageError as cause:
        raise error(f'{what}: not a {wanted} image') from cause
    except Exception as cause:  # Pillow raises OSError, SyntaxError, ValueError, bombs ...
        reason = getattr(cause, 'strerror', None) or str(cause) or type(cause).__name__
        raise error(f'{what}: cannot be read as a {wanted} image: {printable(reason)}') from cause


def _is_heic(path: Path) -> bool:
    """Whether a file begins as the photos of iPhones do."""
    try:
        with path.open('rb') as file:
            start = file.read(12)
    except OSError:
        return False
    return start[4:8] == b'ftyp' and start[8:] in _HEIC_BRANDS


def _load_heic(what: str) -> None:
    """Adds the format to Pillow's. Raises MissingDependencyError where the package lacks."""
    try:
        import pillow_heif
    except ImportError as cause:
        raise MissingDependencyError('pillow-heif', 'heic', f'{what}: reading HEIC') from cause
    pillow_heif.register_heif_opener()


def check_size(width: int, height: int, what: str, error: type[TosaError]) -> None:
    """Raises `error` for an image that is too large or too narrow to process."""
    longer, shorter = max(width, height), max(1, min(width, height))
    if width * height > MAX_PIXELS or longer > MAX_SIDE_PX or longer > MAX_ASPECT * shorter:
        raise error(
            f'{what}: {width}x{height} pixels; wanted at most {MAX_PIXELS // 10**6} million, '
            f'{MAX_SIDE_PX:,} on a side, and one side at most {MAX_ASPECT} times the other'
        )


def _may_lack_rows(picture: Image.Image) -> bool:
    """Whether the last row looks like a row that the file lacks, as Pillow leaves it."""
    last = np.asarray(picture.crop((0, picture.height - 1, picture.width, picture.height)))
    return not last.any() or bool(picture.info.get('interlace'))


def _check_rows(data: Any, what: str, error: type[TosaError]) -> None:
    """Raises `error` for a PNG of fewer rows than its header says, which Pillow fills with 0."""
    header, pieces = _png_pieces(memoryview(data))
    width, height = (int.from_bytes(header[i : i + 4], 'big') for i in (0, 4))
    bits = header[8] * _SAMPLES[header[9]]
    images = _images(width, height, interlaced=bool(header[12]))
    wanted = sum(rows * (1 + (bits * cols + 7) // 8) for cols, rows in images)
    inflate, count = zlib.decompressobj(), 0
    with contextlib.suppress(zlib.error):  # Damaged from there on.
        for piece in pieces:
            while len(piece) and count < wanted:
                count += len(inflate.decompress(piece, _READ_BYTES))
                piece = inflate.unconsumed_tail
    if count < wanted:
        raise error(f'{what}: is cut off: it holds {count} of {wanted} bytes of pixels')


def _images(width: int, height: int, *, interlaced: bool) -> list[tuple[int, int]]:
    """Columns and rows of the images that make up a PNG: seven of an interlaced one."""
    if not interlaced:
        return [(width, height)]
    sizes = (
        (-(-(width - left) // right), -(-(height - top) // down))
        for left, top, right, down in _PASSES
    )
    return [(cols, rows) for cols, rows in sizes if cols > 0 and rows > 0]


def _png_pieces(data: memoryview) -> tuple[bytes, list[memoryview]]:
    """The header chunk and the pieces of the compressed pixels."""
    header, pieces, at = b'', [], len(_SIGNATURE)
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], 'big'), bytes(data[at + 4 : at + 8])
        body = data[at + 8 : at + 8 + length]
        if kind == b'IHDR':
            header = bytes(body)
        elif kind == b'IDAT':
            pieces.append(body)
        elif kind == b'IEND':
            break
        at += 12 + length
    return header, pieces
