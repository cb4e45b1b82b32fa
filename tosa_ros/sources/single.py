"""Single frames: colour, depth, intrinsics and pose of files of their own."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tosa_ros.depth import read_depth, register_depth
from tosa_ros.depth.fitting import fitted, same_aspect
from tosa_ros.errors import FrameError
from tosa_ros.frames import NO_DOUBT, DepthDoubt, Frame, Intrinsics
from tosa_ros.messages.sensor_depth import same_camera
from tosa_ros.sources.images import read_rgb
from tosa_ros.sources.matrices import read_pose

# A camera before its image's size is known: fx, fy, cx, cy, as numbers or as 'fx,fy,cx,cy'.
CameraLike = Intrinsics | str | Sequence[float]


class DepthSizeWarning(UserWarning):
    """Depth of another size is taken as of colour's view."""


def read_frame(
    rgb: str | Path,
    depth: str | Path | None = None,
    *,
    depth_scale: float | None = None,
    whole_scale: float | None = None,
    intrinsics: CameraLike | None = None,
    depth_intrinsics: CameraLike | None = None,
    pose: np.ndarray | str | Path | None = None,
    upright: bool = True,
) -> Frame:
    """One frame of single files.

    Args:
        rgb: a picture. depth: PNG, PGM or TIFF of 16 bits, or floats in TIFF, NumPy or OpenEXR.
        depth_scale: units per metre. Without it floats are metres, and whole numbers need
            whole_scale.
        whole_scale: units per metre of whole numbers, where depth_scale is not given.
        intrinsics: the colour camera's: Intrinsics, 'fx,fy,cx,cy' or four numbers.
        depth_intrinsics: the depth camera's. Depth of another size is registered by them to the
            colour camera, both at the same place; without it, depth of the same aspect is taken
            as of the same view. Of the same size it is taken as aligned. The frame's doubts say
            if nothing shows that.
        pose: (4, 4) camera-to-world, or a text file with it.
        upright: turn a photo alone (no depth, intrinsics or pose) as its EXIF orientation says.

    Raises:
        FrameError, DepthError: a file that cannot be read, or that does not fit the others.
    """
    # Depth, intrinsics and pose belong to the pixels as they were stored.
    alone = depth is None and intrinsics is None and pose is None
    colour = read_rgb(Path(rgb), upright=alone and upright)
    if isinstance(pose, str | Path):
        pose = read_pose(Path(pose))
    camera = camera_of(intrinsics, colour.shape[1], colour.shape[0])
    with naming(rgb):
        frame = Frame(colour, intrinsics=camera, pose=pose)
    if depth is None:
        return frame
    if depth_scale is None:
        metres = read_depth(depth, whole_scale)
    else:
        metres = read_depth(depth, depth_scale, depth_scale)
    own = camera_of(depth_intrinsics, metres.shape[1], metres.shape[0])
    return with_depth(frame, metres, own, str(depth), str(rgb), _warn)


def with_depth(
    frame: Frame,
    metres: np.ndarray,
    own: Intrinsics | None,
    depth: str,
    rgb: str,
    note: Callable[[str], object],
    aligned: bool | None = None,
) -> Frame:
    """The frame with depth of any size, brought to its pixels.

    own: the depth camera. depth, rgb: the files' names. note: told where depth of another size
    is taken as of colour's view, which nothing shows. aligned: whether the format says that
    depth is on colour's view whatever its size; None where it does not say.

    Raises:
        FrameError: depth of another view, without the intrinsics of both cameras.
    """
    rows, cols = metres.shape
    doubts = DepthDoubt.ALIGNED if aligned is False else NO_DOUBT
    both = frame.intrinsics is not None and own is not None
    if (cols, rows) == (frame.width, frame.height):
        if both and not same_camera(frame.intrinsics, own):
            doubts = DepthDoubt.ALIGNED
    elif both:
        metres = register_depth(metres, own, frame.intrinsics)
    else:
        if not same_aspect(cols, rows, frame.width, frame.height):
            raise FrameError(
                f'{depth}: {cols}x{rows} pixels, but {rgb} has {frame.width}x{frame.height}; '
                'wanted the same size or aspect, or the intrinsics of both cameras'
            )
        metres = fitted(metres, frame.width, frame.height)
        if not aligned:
            doubts = DepthDoubt.ALIGNED
            note(
                f'depth of {cols}x{rows} pixels is taken as of the same view as colour of '
                f'{frame.width}x{frame.height}, and enlarged or reduced to it'
            )
    with naming(depth):
        return replace(frame, depth_m=metres, doubts=doubts)


def parse_intrinsics(text: str, width: int, height: int) -> Intrinsics:
    """'fx,fy,cx,cy' -> Intrinsics of an image of width x height pixels.

    Raises:
        FrameError: not four numbers, or a focal length that is not above 0.
    """
    try:
        fx, fy, cx, cy = (float(part) for part in text.split(','))
    except ValueError as error:
        raise FrameError(
            f"intrinsics: {text!r}; wanted 'fx,fy,cx,cy': four numbers, pixels"
        ) from error
    return Intrinsics(fx, fy, cx, cy, width, height)


def camera_of(camera: CameraLike | None, width: int, height: int) -> Intrinsics | None:
    """A camera for an image of width x height pixels."""
    if camera is None or isinstance(camera, Intrinsics):
        return camera
    if isinstance(camera, str):
        return parse_intrinsics(camera, width, height)
    return parse_intrinsics(','.join(map(str, camera)), width, height)


@contextlib.contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Errors about a file's contents name the file."""
    try:
        yield
    except FrameError as error:
        raise FrameError(f'{path}: {error}') from error


def _warn(line: str) -> None:
    warnings.warn(line, DepthSizeWarning, stacklevel=4)
