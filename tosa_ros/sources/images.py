"""Image files: colour pictures read as arrays, arrays written as PNG."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from tosa_ros.errors import FrameError
from tosa_ros.pictures import open_picture, read_size


def read_rgb(path: Path, upright: bool = False) -> np.ndarray:
    """A picture as (H, W, 3) uint8.

    upright: turned as its EXIF orientation says.

    Raises:
        FrameError: a file that cannot be read, or that holds depth.
    """
    return decoded(path, str(path), upright)


def decoded(source: Path | bytes, what: str, upright: bool = False) -> np.ndarray:
    """As `read_rgb`, of a file or a file's bytes, which a message calls `what`."""
    picture = open_picture(source, what, FrameError)
    if upright:
        with contextlib.suppress(Exception):  # EXIF that cannot be read says nothing.
            picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith(('I', 'F')):
        raise FrameError(f'{what}: mode {picture.mode} is depth, not a colour image')
    return np.array(picture.convert('RGB'))


def picture_size(path: Path) -> tuple[int, int]:
    """The width and height of a picture, by its header alone.

    Raises:
        FrameError: a file that is no picture.
    """
    return read_size(path, str(path), FrameError)


def png(pixels: np.ndarray) -> bytes:
    """The bytes of an image as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, 'PNG')
    return stream.getvalue()
