"""FrameFolder: a folder's frames; its layout describes the files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, overload
from weakref import WeakValueDictionary

import numpy as np

from tosa_ros.depth import SensorDepth, read_depth
from tosa_ros.depth.fitting import same_aspect
from tosa_ros.errors import FrameError
from tosa_ros.frames import Frame, Intrinsics
from tosa_ros.sources.images import read_rgb
from tosa_ros.sources.layouts import LAYOUTS, layout_of
from tosa_ros.sources.layouts.axes import OPENGL_TO_OPTICAL
from tosa_ros.sources.layouts.layout import MILLIMETRES, FrameFiles
from tosa_ros.sources.matrices import read_pose
from tosa_ros.sources.single import CameraLike, camera_of, naming, with_depth
from tosa_ros.sources.source import FrameSource


@dataclass(frozen=True, eq=False)
class FrameFolder(FrameSource):
    """A folder's frames in their order, each decoded when it is asked for.

    A frame that is still referenced is not decoded again: the same object comes back, so that
    what was computed for it (visual tokens) is found again. Slices are folders, and as lazy.

    depth_scale, float_scale: units per metre of depth files with whole numbers, with floats.
    intrinsics: of all frames; before those that each frame may have of its own.
    aligned: whether the format says that depth is on colour's view whatever its size.
    photos: no frame has depth or a pose, so that all may be turned upright, or none.
    """

    path: Path
    files: tuple[FrameFiles, ...]
    depth_scale: float = MILLIMETRES
    float_scale: float | None = 1.0
    intrinsics: CameraLike | None = None
    depth_intrinsics: CameraLike | None = None
    camera_axes: Literal['optical', 'opengl'] = 'optical'
    aligned: bool | None = None
    photos: bool = False
    notes: Counter[str] = field(default_factory=Counter, repr=False)
    _alive: WeakValueDictionary[str, Frame] = field(
        default_factory=WeakValueDictionary, repr=False
    )

    @property
    def stems(self) -> tuple[str, ...]:
        """The frames' names: those of their files, without what all have."""
        return tuple(files.stem for files in self.files)

    @property
    def missing_depth(self) -> int:
        """How many of the frames have no depth file."""
        return sum(files.depth is None for files in self.files)

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> FrameFolder: ...
    def __getitem__(self, index: int | slice) -> Frame | FrameFolder:
        if isinstance(index, slice):
            return replace(self, files=self.files[index])
        files = self.files[index]
        frame = self._alive.get(files.stem)
        if frame is None:
            frame = self._alive[files.stem] = self._read(files)
        return frame

    def take(self, indices: Iterable[int]) -> FrameFolder:
        """Only these frames, in this order; an index may appear twice."""
        return replace(self, files=tuple(self.files[i] for i in indices))

    def sampled(self, count: int) -> FrameFolder:
        """`count` frames, evenly spread from the first to the last by OpenEQA's rule.

        That is round(linspace(0, n - 1, count)): a folder with fewer frames repeats some.
        """
        if count < 1:
            raise FrameError(f'{self.path}: {count} frames were asked for; wanted at least 1')
        return self.take(np.round(np.linspace(0, len(self) - 1, count)).astype(int).tolist())

    def _read(self, files: FrameFiles) -> Frame:
        given = files.intrinsics if self.intrinsics is None else self.intrinsics
        colour = read_rgb(files.rgb, upright=self.photos and given is None)
        height, width = colour.shape[:2]
        pose = self._pose(files)
        with naming(files.rgb):
            camera = _fitting(given, width, height, scales=self.intrinsics is None)
            frame = Frame(colour, intrinsics=camera, pose=pose, stamp=files.stamp)
        if files.depth is None:
            return frame
        metres = read_depth(files.depth, self.depth_scale, self.float_scale)
        with naming(files.depth):
            own = self.depth_camera(frame, metres.shape[1], metres.shape[0])
        depth, rgb = str(files.depth), str(files.rgb)
        return with_depth(frame, metres, own, depth, rgb, self._note, self.aligned)

    def depth_camera(self, frame: Frame, width: int, height: int) -> Intrinsics | None:
        """The camera of depth with width x height pixels that belongs to a frame, where known."""
        own, colour = camera_of(self.depth_intrinsics, width, height), frame.intrinsics
        if own is None or colour is None or (width, height) == (frame.width, frame.height):
            return own
        if own == replace(colour, width=width, height=height):
            return None  # Colour's, written down twice: they cannot be right for both sizes.
        return _checked(own)

    def _pose(self, files: FrameFiles) -> np.ndarray | None:
        pose = files.pose
        if isinstance(pose, Path):
            pose = read_pose(pose)
        if pose is None or not np.isfinite(pose).all():
            return None  # ScanNet writes -inf where tracking was lost.
        return pose @ OPENGL_TO_OPTICAL if self.camera_axes == 'opengl' else pose

    def _note(self, line: str) -> None:
        self.notes[f'{self.path}: {line}'] += 1


def _fitting(
    given: CameraLike | None, width: int, height: int, *, scales: bool
) -> Intrinsics | None:
    """The camera of a picture of this size.

    scales: a camera that was made for another size is scaled.

    Raises:
        FrameError: a camera that cannot be this picture's.
    """
    camera = camera_of(given, width, height)
    if camera is None:
        return None
    size = camera.width, camera.height
    if scales and size != (width, height) and same_aspect(*size, width, height):
        camera = camera.scaled(width, height)
    return _checked(camera)


def _checked(camera: Intrinsics) -> Intrinsics:
    """Raises FrameError for a camera whose numbers belong to pictures of another size."""
    if not (0 <= camera.cx <= camera.width and 0 <= camera.cy <= camera.height):
        raise FrameError(
            f'intrinsics: their centre ({camera.cx:g}, {camera.cy:g}) lies outside of the picture '
            f'of {camera.width}x{camera.height} pixels; were they made for another size?'
        )
    return camera


def read_folder(
    path: str | Path,
    *,
    depth_scale: float | None = None,
    intrinsics: CameraLike | None = None,
    camera_axes: Literal['optical', 'opengl'] = 'optical',
    layout: str | None = None,
) -> FrameFolder:
    """Lists the frames of a folder; `[i]`, `[a:b]`, `.take(...)` and `.sampled(k)` choose.

    Depth of another size than colour is registered with both intrinsics, which ScanNet's pairs
    of cameras allow (their extrinsic is the identity); without them, depth of the same aspect is
    taken as of the same view. Frames without a depth file have no depth; `missing_depth` counts
    them. Poses that are not finite become None. `notes` say what the folder does not.

    Args:
        depth_scale: units per metre of all depth files: 1000 for millimetres, 6553.5 for HM3D. By
            default as the layout has it; floats are metres.
        intrinsics: the colour camera's, where the folder has none or (HM3D) wrong ones.
        camera_axes: 'opengl' where poses are of a camera that looks along -z, with y up (HM3D, as
            Habitat writes it).
        layout: a name in `sources.layouts.LAYOUTS`; by default the one that the files show.

    Raises:
        FrameError: no such folder, no colour images, files that do not fit together.
        DepthError: a depth file that cannot be read (when its frame is asked for).
    """
    path = Path(path)
    if not path.is_dir():
        raise FrameError(f'{path}: no such folder of frames')
    if camera_axes not in ('optical', 'opengl'):
        raise FrameError(f"camera_axes: {camera_axes!r}; wanted 'optical' or 'opengl'")
    if depth_scale is not None:
        SensorDepth(scale=depth_scale)
    listing = LAYOUTS[layout or layout_of(path)].list(path)
    if not listing.files:
        raise FrameError(f'{path}: no frame has a colour image')
    has_depth = any(one.depth for one in listing.files)
    scale = listing.depth_scale if depth_scale is None else depth_scale
    notes = [f'{path}: {line}' for line in listing.notes]
    if scale is None and has_depth:
        notes.append(f'{path}: says nothing of its depth: whole numbers are taken as millimetres')
    cameras = [intrinsics, listing.intrinsics, *(one.intrinsics for one in listing.files)]
    if has_depth and all(one is None for one in cameras):
        notes.append(f'{path}: has no intrinsics (--intrinsics): there are no metric points')
    return FrameFolder(
        path,
        listing.files,
        depth_scale=MILLIMETRES if scale is None else scale,
        float_scale=listing.float_scale if depth_scale is None else depth_scale,
        intrinsics=listing.intrinsics if intrinsics is None else intrinsics,
        depth_intrinsics=listing.depth_intrinsics,
        camera_axes=camera_axes,
        aligned=listing.aligned,
        photos=not has_depth and not any(one.pose is not None for one in listing.files),
        notes=Counter(notes),
    )
