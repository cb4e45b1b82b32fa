"""Opens a path by its kind: a folder of frames, a video or a bag."""

from __future__ import annotations

from pathlib import Path

from tosa_ros.errors import DataError
from tosa_ros.sources.bags.opening import BAG_SUFFIXES, is_bag_file
from tosa_ros.sources.bags.reading import BagFrames
from tosa_ros.sources.folder import read_folder
from tosa_ros.sources.single import CameraLike
from tosa_ros.sources.source import FrameSource
from tosa_ros.sources.video import VideoFrames

VIDEO_SUFFIXES = ('.mp4', '.mkv', '.webm', '.avi', '.mov', '.m4v')


def find_episode(root: Path, name: str) -> Path:
    """A folder, a video or a bag called `name` under `root`.

    Raises:
        DataError: there is none; the message names the search.
    """
    for suffix in ('', *VIDEO_SUFFIXES, *BAG_SUFFIXES):
        for ending in (suffix, suffix.upper()):
            path = root / f'{name}{ending}'
            if path.exists():
                return path
    raise DataError(f'{root / name}: no folder of frames, bag or video ({VIDEO_SUFFIXES[0]}, ...)')


def open_source(
    path: Path,
    depth_scale: float | None = None,
    layout: str | None = None,
    intrinsics: CameraLike | None = None,
) -> FrameSource:
    """The frames of a folder, a video, or a bag.

    depth_scale: depth units per metre, of a folder's files or a bag's 16-bit images; if not given
        as the folder's layout has it, or what the bag says.
    layout: a folder's; by default the one that its files show. intrinsics: of a folder's colour.
    """
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoFrames(path)
    if not is_bag(path):
        return read_folder(path, depth_scale=depth_scale, layout=layout, intrinsics=intrinsics)
    bag = BagFrames(path, depth_scale=depth_scale)
    if depth_scale is not None and bag.depth_is_metric:
        bag.notes[
            f'depth scale {depth_scale:g} changes nothing: {bag.topics.depth} is in metres'
        ] = 1
    return bag


def is_bag(path: Path) -> bool:
    """Whether a path is a ROS bag, by its name or what is in it."""
    if path.is_file():
        return is_bag_file(path)
    if (path / 'metadata.yaml').is_file():
        return True
    return any(map(is_bag_file, path.iterdir()))
