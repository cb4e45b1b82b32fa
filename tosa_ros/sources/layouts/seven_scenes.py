"""7-Scenes, and what is named like it: 3RScan, BundleFusion, ScanNet's reader in C++.

`frame-000000.color.png`, `.depth.png` or `.depth.pgm` (millimetres, 65535 and 0 = none),
`.pose.txt` (4x4 camera-to-world). `_info.txt` or `info.txt` hold the cameras, where there are any.
"""

from __future__ import annotations

from pathlib import Path

from tosa_ros.depth.files import SUFFIXES as DEPTHS
from tosa_ros.errors import FrameError
from tosa_ros.files import read_text
from tosa_ros.frames import Intrinsics
from tosa_ros.pictures import SUFFIXES as PICTURES
from tosa_ros.sources.layouts.layout import MILLIMETRES, FrameFiles, Layout, Listing
from tosa_ros.sources.matrices import numbers
from tosa_ros.sources.naming import by_stem, files_in
from tosa_ros.sources.single import CameraLike

COLOUR = tuple(f'.color{suffix}' for suffix in PICTURES)
DEPTH = tuple(f'.depth{suffix}' for suffix in DEPTHS)
POSE = ('.pose.txt',)
INFO = ('_info.txt', 'info.txt')
COLOUR_MATRIX, DEPTH_MATRIX = 'm_calibrationColorIntrinsic', 'm_calibrationDepthIntrinsic'
DEPTH_UNITS = 'm_depthShift'
# Of the depth camera, which Microsoft names for 7-Scenes; it publishes none of colour's.
KINECT = Intrinsics(585.0, 585.0, 320.0, 240.0, 640, 480)
UNCALIBRATED = (
    'depth is not calibrated to colour in this format, and is taken as aligned; without '
    '--intrinsics the camera is 585,585,320,240, which 7-Scenes names for its depth camera'
)


def matches(folder: Path) -> bool:
    """Whether there is a colour image of that name."""
    return bool(files_in(folder, COLOUR))


def frames(folder: Path) -> Listing:
    """The frames.

    Raises:
        FrameError: two files of one name, or an info file that cannot be read.
    """
    images = by_stem(files_in(folder, COLOUR), COLOUR, 'colour image')
    depths = by_stem(files_in(folder, DEPTH), DEPTH, 'depth file')
    poses = by_stem(files_in(folder, POSE), POSE, 'pose file')
    info = next((folder / name for name in INFO if (folder / name).is_file()), None)
    held = {} if info is None else _info(info)
    camera = _camera(held, COLOUR_MATRIX, info)
    default = KINECT if camera is None else None
    files = tuple(
        FrameFiles(stem, image, depths.get(stem), poses.get(stem), default)
        for stem, image in images.items()
    )
    units = held.get(DEPTH_UNITS, [MILLIMETRES])[0]
    return Listing(
        files,
        camera,
        _camera(held, DEPTH_MATRIX, info),
        depth_scale=units,
        aligned=False if camera is None else None,
        notes=(UNCALIBRATED,) if camera is None else (),
    )


def _info(path: Path) -> dict[str, list[float]]:
    """The numbers of an info file by their names."""
    held = {}
    for line in read_text(path, FrameError).splitlines():
        name, equals, value = line.partition('=')
        if equals and name.strip() in (COLOUR_MATRIX, DEPTH_MATRIX, DEPTH_UNITS):
            held[name.strip()] = numbers(value, f'{path}: {name.strip()}')
    return held


def _camera(held: dict[str, list[float]], name: str, path: Path | None) -> CameraLike | None:
    if name not in held:
        return None
    k = held[name]
    if len(k) != 16:
        raise FrameError(f'{path}: {name} has {len(k)} numbers; wanted a matrix of 16')
    return k[0], k[5], k[2], k[6]


LAYOUT = Layout('files named *.color.png or *.color.jpg', matches, frames)
