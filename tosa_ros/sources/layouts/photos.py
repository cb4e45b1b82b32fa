"""A folder of photos: images of any names, colour alone; used on request.

It is not among those that are recognised: a folder of another kind holds pictures too, which may
be of depth.
"""

from __future__ import annotations

from pathlib import Path

from tosa_ros.pictures import SUFFIXES
from tosa_ros.sources.layouts import stems
from tosa_ros.sources.layouts.layout import FrameFiles, Layout, Listing
from tosa_ros.sources.naming import files_in


def matches(folder: Path) -> bool:
    """Whether there are pictures, and no file is named as frames are."""
    return not stems.colour_images(folder) and bool(files_in(folder, SUFFIXES))


def frames(folder: Path) -> Listing:
    """The photos by name, numbers in names by their value."""
    return Listing(tuple(FrameFiles(file.name, file) for file in files_in(folder, SUFFIXES)))


LAYOUT = Layout(f'pictures ({", ".join(SUFFIXES)})', matches, frames, recognised=False)
