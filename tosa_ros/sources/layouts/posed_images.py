"""`posed_images/<scene>`, as mmdetection3d and EmbodiedScan extract ScanNet, all in one folder.

`00000.jpg`, `00000.png` (depth, millimetres; may be missing), `00000.txt` (4x4 camera-to-world),
`intrinsic.txt` (colour), `depth_intrinsic.txt`.
"""

from __future__ import annotations

from pathlib import Path

from tosa_ros.sources.layouts.layout import MILLIMETRES, FrameFiles, Layout, Listing
from tosa_ros.sources.matrices import read_camera
from tosa_ros.sources.naming import by_stem, files_in

CAMERA, DEPTH_CAMERA = 'intrinsic.txt', 'depth_intrinsic.txt'
PICTURES = ('.jpg', '.jpeg')


def matches(folder: Path) -> bool:
    """Whether the camera's file is beside JPEGs that have a pose each by their name."""
    if not (folder / CAMERA).is_file():
        return False
    return any(file.with_suffix('.txt').is_file() for file in files_in(folder, PICTURES))


def frames(folder: Path) -> Listing:
    """The frames.

    Raises:
        FrameError: two files of one name, or camera files that hold none.
    """
    images = by_stem(files_in(folder, PICTURES), PICTURES, 'colour image')
    depths = by_stem(files_in(folder, ('.png',)), ('.png',), 'depth file')
    poses = by_stem(files_in(folder, ('.txt',)), ('.txt',), 'pose file')
    files = tuple(
        FrameFiles(stem, image, depths.get(stem), poses.get(stem))
        for stem, image in images.items()
    )
    own = folder / DEPTH_CAMERA
    return Listing(
        files,
        read_camera(folder / CAMERA),
        read_camera(own) if own.is_file() else None,
        depth_scale=MILLIMETRES,
    )


LAYOUT = Layout(f'{CAMERA} and pictures named *.jpg with poses named *.txt', matches, frames)
