"""FrameFolder: a folder's frames; its layout describes the files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, overload
from weakref import WeakValueDictionary

import numpy as np

from tosa_ros.depth import SensorDepth
from tosa_ros.errors import FrameError
from tosa_ros.frames import Frame
from tosa_ros.sources.layouts import LAYOUTS, layout_of
from tosa_ros.sources.layouts.layout import FrameFiles
from tosa_ros.sources.matrices import read_matrix
from tosa_ros.sources.single import CameraLike, read_frame
from tosa_ros.sources.source import FrameSource

MILLIMETRES = 1000.0
# From the axes of OpenGL and Habitat (y up, z backward) to the optical frame's, on the right.
_OPENGL_TO_OPTICAL = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class FrameFolder(FrameSource):
    """A folder's frames in the order of their names, each decoded when it is asked for.

    A frame that is still referenced is not decoded again: the same object comes back, so that
    what was computed for it (visual tokens) is found again. Slices are folders, and as lazy.

    photos: no frame has depth or a pose, so that all may be turned upright, or none.
    """

    path: Path
    files: tuple[FrameFiles, ...]
    depth_scale: float = MILLIMETRES
    intrinsics: CameraLike | None = None
    depth_intrinsics: CameraLike | None = None
    camera_axes: Literal['optical', 'opengl'] = 'optical'
    photos: bool = False
    notes: Counter[str] = field(default_factory=Counter, repr=False)
    _alive: WeakValueDictionary[str, Frame] = field(
        default_factory=WeakValueDictionary, repr=False
    )

    @property
    def stems(self) -> tuple[str, ...]:
        """The frames' names: those of their files up to '-rgb'."""
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
        pose = files.pose
        if isinstance(pose, Path):
            pose = read_matrix(pose)
        if pose is not None and self.camera_axes == 'opengl':
            pose = pose @ _OPENGL_TO_OPTICAL
        return read_frame(
            files.rgb,
            files.depth,
            depth_scale=self.depth_scale,
            intrinsics=self.intrinsics,
            depth_intrinsics=self.depth_intrinsics,
            # ScanNet writes -inf where tracking was lost.
            pose=pose if pose is not None and np.isfinite(pose).all() else None,
            upright=self.photos,
        )


def read_folder(
    path: str | Path,
    *,
    depth_scale: float = MILLIMETRES,
    intrinsics: CameraLike | None = None,
    camera_axes: Literal['optical', 'opengl'] = 'optical',
    layout: str | None = None,
) -> FrameFolder:
    """Lists the frames of a folder; `[i]`, `[a:b]`, `.take(...)` and `.sampled(k)` choose.

    Depth of another size than colour is registered with both intrinsics, which ScanNet's pairs
    of cameras allow (their extrinsic is the identity). Frames without a depth file have no depth;
    `missing_depth` counts them. Poses that are not finite become None.

    Args:
        depth_scale: raw units per metre: 1000 for millimetres (ScanNet, Redwood), 6553.5 for HM3D.
        intrinsics: the colour camera's, where the folder has no intrinsic_color.txt or (HM3D) a
            wrong one.
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
    SensorDepth(scale=depth_scale)
    listing = LAYOUTS[layout or layout_of(path)].list(path)
    return FrameFolder(
        path,
        listing.files,
        depth_scale=depth_scale,
        intrinsics=listing.intrinsics if intrinsics is None else intrinsics,
        depth_intrinsics=listing.depth_intrinsics,
        camera_axes=camera_axes,
        photos=all(one.depth is None and one.pose is None for one in listing.files),
    )
