"""Single frames: colour, depth, intrinsics and pose of files of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tosa_ros.depth import SensorDepth, register_depth
from tosa_ros.errors import FrameError
from tosa_ros.frames import NO_DOUBT, DepthDoubt, Frame, Intrinsics
from tosa_ros.messages.sensor_depth import same_camera
from tosa_ros.sources.images import read_rgb
from tosa_ros.sources.matrices import read_matrix

# A camera before its image's size is known: fx, fy, cx, cy, as numbers or as 'fx,fy,cx,cy'.
CameraLike = Intrinsics | str | Sequence[float]


def read_frame(
    rgb: str | Path,
    depth: str | Path | None = None,
    *,
    depth_scale: float | None = None,
    intrinsics: CameraLike | None = None,
    depth_intrinsics: CameraLike | None = None,
    pose: np.ndarray | str | Path | None = None,
    upright: bool = True,
) -> Frame:
    """One frame of single files.

    Args:
        rgb, depth: image files; depth is a 16-bit grey PNG.
        depth_scale: raw units per metre; must be given with depth.
        intrinsics: the colour camera's: Intrinsics, 'fx,fy,cx,cy' or four numbers.
        depth_intrinsics: the depth camera's. Depth of another size is registered by them to the
            colour camera, both at the same place; of the same size it is taken as aligned, which
            the frame's doubts say if they are of another view.
        pose: (4, 4) camera-to-world, or a text file with it.
        upright: turn a photo alone (no depth, intrinsics or pose) as its EXIF orientation says.

    Raises:
        FrameError, DepthError: a file that cannot be read, or that does not fit the others.
    """
    # Depth, intrinsics and pose belong to the pixels as they were stored.
    alone = depth is None and intrinsics is None and pose is None
    colour = read_rgb(Path(rgb), upright=alone and upright)
    height, width = colour.shape[:2]
    camera = _camera(intrinsics, width, height)
    if isinstance(pose, str | Path):
        pose = read_matrix(Path(pose))
    with _naming(rgb):
        frame = Frame(colour, intrinsics=camera, pose=pose)
    if depth is None:
        return frame
    if depth_scale is None:
        raise FrameError(
            f'{depth}: its depth scale is missing: raw units per metre, 1000 for millimetres'
        )
    depth_m = SensorDepth(scale=depth_scale).read_png(depth)
    source, doubts = _camera(depth_intrinsics, depth_m.shape[1], depth_m.shape[0]), NO_DOUBT
    if depth_m.shape == (height, width):
        if camera is not None and source is not None and not same_camera(camera, source):
            doubts = DepthDoubt.ALIGNED
    else:
        if camera is None or source is None:
            raise FrameError(
                f'{depth}: {depth_m.shape[1]}x{depth_m.shape[0]} pixels, but {rgb} has '
                f'{width}x{height}; wanted the same size, or the intrinsics of both cameras'
            )
        depth_m = register_depth(depth_m, source, camera)
    with _naming(depth):
        return replace(frame, depth_m=depth_m, doubts=doubts)


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


def _camera(camera: CameraLike | None, width: int, height: int) -> Intrinsics | None:
    if camera is None or isinstance(camera, Intrinsics):
        return camera
    if isinstance(camera, str):
        return parse_intrinsics(camera, width, height)
    return parse_intrinsics(','.join(map(str, camera)), width, height)


@contextlib.contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Errors about a file's contents name the file."""
    try:
        yield
    except FrameError as error:
        raise FrameError(f'{path}: {error}') from error
