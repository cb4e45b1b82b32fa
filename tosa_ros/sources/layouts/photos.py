"""A folder of photos: images of any names, colour alone; used on request.

It is not among those that are recognised: a folder of another kind holds pictures too, which may
be of depth.
"""

from __future__ import annotations

import re
from pathlib import Path

from tosa_ros.sources.layouts import stems
from tosa_ros.sources.layouts.layout import FrameFiles, Layout, Listing

SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp', '.bmp')


def matches(folder: Path) -> bool:
    """Whether there are pictures, and no file is named as frames are."""
    return not stems.colour_images(folder) and bool(_photos(folder))


def frames(folder: Path) -> Listing:
    """The photos by name, numbers in names by their value."""
    return Listing(tuple(FrameFiles(file.name, file) for file in _photos(folder)))


def _photos(folder: Path) -> list[Path]:
    files = [file for file in folder.iterdir() if not file.name.startswith('.')]
    photos = [file for file in files if file.suffix.lower() in SUFFIXES]
    return sorted(photos, key=lambda file: [*map(_number, re.split(r'(\d+)', file.name))])


def _number(text: str) -> tuple[int, str]:
    return (int(text), '') if text.isdecimal() else (-1, text)


LAYOUT = Layout(f'pictures ({", ".join(SUFFIXES)})', matches, frames, recognised=False)
