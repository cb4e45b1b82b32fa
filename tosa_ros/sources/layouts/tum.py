"""TUM RGB-D, and ETH3D's SLAM sequences: lists of stamped files, joined by time.

`rgb.txt`, `depth.txt` (stamp and file), `groundtruth.txt` (stamp, tx ty tz, qx qy qz qw,
camera-to-world). Depth has 5000 units a metre and is on colour's pixels. As TUM's own tool does,
a colour image gets the depth image and the pose nearest in time, at most 0.02 s away.
"""

from __future__ import annotations

import re
from pathlib import Path

from tosa_ros.errors import FrameError
from tosa_ros.files import read_text
from tosa_ros.frames import Intrinsics
from tosa_ros.sources.layouts.axes import from_quaternion
from tosa_ros.sources.layouts.layout import FrameFiles, Layout, Listing
from tosa_ros.sources.layouts.stamps import nearest, rows
from tosa_ros.sources.matrices import numbers, read_camera
from tosa_ros.sources.single import CameraLike

COLOUR, DEPTH, POSES = 'rgb.txt', 'depth.txt', 'groundtruth.txt'
CAMERA = 'calibration.txt'  # ETH3D's: fx fy cx cy
UNITS_PER_METRE = 5000.0
WITHIN_S = 0.02
# TUM publishes them on its page alone, for sequences that are named after the camera.
CAMERAS = {
    '1': Intrinsics(517.3, 516.5, 318.6, 255.3, 640, 480),
    '2': Intrinsics(520.9, 521.0, 325.1, 249.7, 640, 480),
    '3': Intrinsics(535.4, 539.2, 320.1, 247.6, 640, 480),
}
_NAME = re.compile(r'(?:freiburg|fr)([123])(?!\d)')


def matches(folder: Path) -> bool:
    """Whether the list of colour images is there."""
    return (folder / COLOUR).is_file()


def frames(folder: Path) -> Listing:
    """The frames, in the order of their stamps.

    Raises:
        FrameError: lists that cannot be read, or none of whose colour images is there.
    """
    colours, gone = _listed(folder, COLOUR)
    if not colours:
        raise FrameError(f'{folder / COLOUR}: none of its {gone} pictures is there')
    notes = [f'{gone} of the pictures that {COLOUR} lists are not there'] if gone else []
    depths, gone = _listed(folder, DEPTH) if (folder / DEPTH).is_file() else ([], 0)
    if gone:
        notes.append(f'{gone} of the files that {DEPTH} lists are not there')
    of_colour = _paired([stamp for stamp, _ in colours], [stamp for stamp, _ in depths])
    if depths and len(of_colour) < len(colours):
        lacking = len(colours) - len(of_colour)
        notes.append(f'{lacking} of {len(colours)} frames have no depth within {WITHIN_S} s')
    poses = rows(folder / POSES, 8) if (folder / POSES).is_file() else []
    times = [row[0] for row in poses]
    camera, said = _camera(folder)
    files = []
    for index, (stamp, file) in enumerate(colours):
        at = nearest(times, stamp, WITHIN_S)
        pose = None if at is None else from_quaternion(poses[at][1:4], poses[at][4:8])
        depth = depths[of_colour[index]][1] if index in of_colour else None
        files.append(FrameFiles(file.stem, file, depth, pose, camera, stamp))
    if poses and (lacking := sum(one.pose is None for one in files)):
        notes.append(f'{lacking} of {len(files)} frames have no pose within {WITHIN_S} s')
    if said:
        notes.append(said)
    return Listing(tuple(files), depth_scale=UNITS_PER_METRE, notes=tuple(notes))


def _listed(folder: Path, name: str) -> tuple[list[tuple[float, Path]], int]:
    """The stamped files of a list that are there, by time; and how many are not."""
    found, gone = [], 0
    for at, line in enumerate(read_text(folder / name, FrameError).splitlines(), start=1):
        words = line.partition('#')[0].split(maxsplit=1)
        if not words:
            continue
        where = f'{folder / name}, line {at}'
        if len(words) != 2:
            raise FrameError(f'{where}: {line.strip()!r}; wanted a stamp and a file')
        (stamp,) = numbers(words[0], where)
        file = folder / words[1].strip().replace('\\', '/')
        if file.is_file():
            found.append((stamp, file))
        else:
            gone += 1
    return sorted(found), gone


def _paired(colours: list[float], depths: list[float]) -> dict[int, int]:
    """Which depth belongs to which colour image: the nearest pairs first, each only once."""
    near = []
    for i, stamp in enumerate(colours):
        best = nearest(depths, stamp, WITHIN_S)
        if best is not None:
            around = range(max(0, best - 2), min(len(depths), best + 3))
            near += [(abs(depths[j] - stamp), i, j) for j in around]
    of_colour: dict[int, int] = {}
    taken = set()
    for gap, i, j in sorted(near):
        if gap <= WITHIN_S + 1e-6 and i not in of_colour and j not in taken:
            of_colour[i] = j
            taken.add(j)
    return of_colour


def _camera(folder: Path) -> tuple[CameraLike | None, str]:
    """The camera, and where it is from."""
    path = folder / CAMERA
    if path.is_file():
        return read_camera(path), f'the intrinsics are those of {CAMERA}'
    found = _NAME.search(folder.resolve().name.lower())
    if found:
        return CAMERAS[found[1]], f'the intrinsics are those that TUM gives of freiburg{found[1]}'
    return None, ''


LAYOUT = Layout(COLOUR, matches, frames)
