"""Sources of frames: single files, folders by their layout, videos and bags, read when asked for.

All are a FrameSource; `open_source` finds out what a path is.
"""

from tosa_ros.sources.folder import MILLIMETRES, FrameFolder, read_folder
from tosa_ros.sources.given import Given, frames_of
from tosa_ros.sources.opening import find_episode, is_bag, open_source
from tosa_ros.sources.single import CameraLike, parse_intrinsics, read_frame
from tosa_ros.sources.source import FrameSource, HeldFrames, LazyFrames, as_source
from tosa_ros.sources.video import VideoFrames
from tosa_ros.sources.writing import write_folder

__all__ = [
    'MILLIMETRES',
    'CameraLike',
    'FrameFolder',
    'FrameSource',
    'Given',
    'HeldFrames',
    'LazyFrames',
    'VideoFrames',
    'as_source',
    'find_episode',
    'frames_of',
    'is_bag',
    'open_source',
    'parse_intrinsics',
    'read_folder',
    'read_frame',
    'write_folder',
]
