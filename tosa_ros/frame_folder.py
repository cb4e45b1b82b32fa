"""Frames on disk: single files, folders in the OpenEQA and Redwood layouts, and writing them.

OpenEQA: `<stem>-rgb.png` (or .jpg), `<stem>-depth.png`, `<stem>.txt` (4x4 camera-to-world),
`intrinsic_color.txt`, `intrinsic_depth.txt` (4x4). Redwood has `trajectory.log` for the poses.
Frames are decoded when they are asked for.
"""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, overload
from weakref import WeakValueDictionary

import numpy as np
from PIL import Image, ImageOps

from tosa_ros.depth.registration import register_depth
from tosa_ros.depth.sensor import SensorDepth
from tosa_ros.errors import FrameError
from tosa_ros.files import read_text, write_bytes
from tosa_ros.frames import Frame, Intrinsics
from tosa_ros.pictures import open_picture

MILLIMETRES = 1000.0
RGB_SUFFIXES = ('-rgb.png', '-rgb.jpg', '-rgb.jpeg')
# From the axes of OpenGL and Habitat (y up, z backward) to the optical frame's, on the right.
_OPENGL_TO_OPTICAL = np.diag([1.0, -1.0, -1.0, 1.0])

# A camera before its image's size is known: fx, fy, cx, cy, as numbers or as 'fx,fy,cx,cy'.
CameraLike = Intrinsics | str | Sequence[float]


@dataclass(frozen=True)
class _Files:
    """What belongs to one frame of a folder."""

    stem: str
    rgb: Path
    depth: Path | None
    pose: np.ndarray | Path | None


@dataclass(frozen=True, eq=False)
class FrameFolder(Sequence[Frame]):
    """A folder's frames in the order of their names, each decoded when it is asked for.

    A frame that somebody still holds is not decoded again: the same object comes back, so that
    what was computed for it (visual tokens) is found again. Slices are folders, and as lazy.

    photos: no frame has depth or a pose, so that all may be turned upright, or none.
    """

    path: Path
    files: tuple[_Files, ...]
    depth_scale: float = MILLIMETRES
    intrinsics: CameraLike | None = None
    depth_intrinsics: CameraLike | None = None
    camera_axes: Literal['optical', 'opengl'] = 'optical'
    photos: bool = False
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
        """These frames alone, in this order; an index may come twice."""
        return replace(self, files=tuple(self.files[i] for i in indices))

    def sampled(self, count: int) -> FrameFolder:
        """`count` frames, evenly spread from the first to the last by OpenEQA's rule.

        That is round(linspace(0, n - 1, count)): a folder with fewer frames repeats some.
        """
        if count < 1:
            raise FrameError(f'{self.path}: {count} frames were asked for; wanted at least 1')
        return self.take(np.round(np.linspace(0, len(self) - 1, count)).astype(int).tolist())

    def _read(self, files: _Files) -> Frame:
        pose = files.pose
        if isinstance(pose, Path):
            pose = _read_matrix(pose)
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
    colour, depth = path / 'intrinsic_color.txt', path / 'intrinsic_depth.txt'
    if intrinsics is None and colour.is_file():
        intrinsics = _read_camera(colour)
    files = _list_files(path)
    return FrameFolder(
        path,
        files,
        depth_scale=depth_scale,
        intrinsics=intrinsics,
        depth_intrinsics=_read_camera(depth) if depth.is_file() else None,
        camera_axes=camera_axes,
        photos=all(one.depth is None and one.pose is None for one in files),
    )


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
        depth_intrinsics: the depth camera's, where depth has another size; it is then registered
            to the colour camera, both at the same place.
        pose: (4, 4) camera-to-world, or a text file with it.
        upright: turn a photo alone (no depth, intrinsics or pose) as its EXIF orientation says.

    Raises:
        FrameError, DepthError: a file that cannot be read, or that does not fit the others.
    """
    # Depth, intrinsics and pose belong to the pixels as they were stored.
    alone = depth is None and intrinsics is None and pose is None
    colour = _read_rgb(Path(rgb), upright=alone and upright)
    height, width = colour.shape[:2]
    camera = _camera(intrinsics, width, height)
    if isinstance(pose, str | Path):
        pose = _read_matrix(Path(pose))
    with _naming(rgb):
        frame = Frame(colour, intrinsics=camera, pose=pose)
    if depth is None:
        return frame
    if depth_scale is None:
        raise FrameError(
            f'{depth}: its depth scale is missing: raw units per metre, 1000 for millimetres'
        )
    depth_m = SensorDepth(scale=depth_scale).read_png(depth)
    if depth_m.shape != (height, width):
        source = _camera(depth_intrinsics, depth_m.shape[1], depth_m.shape[0])
        if camera is None or source is None:
            raise FrameError(
                f'{depth}: {depth_m.shape[1]}x{depth_m.shape[0]} pixels, but {rgb} has '
                f'{width}x{height}; wanted the same size, or the intrinsics of both cameras'
            )
        depth_m = register_depth(depth_m, source, camera)
    with _naming(depth):
        return replace(frame, depth_m=depth_m)


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


def write_folder(
    path: str | Path, frames: Iterable[Frame], *, depth_scale: float = MILLIMETRES
) -> FrameFolder:
    """Writes frames in the OpenEQA layout, named 00000, 00001, ...; returns the folder read back.

    Colour, poses and intrinsics are kept exactly, depth to half a unit of 1 / depth_scale metres;
    stamps have no place there. Each file appears whole or not at all.

    Raises:
        FrameError: a folder that has frames already, frames of different cameras, relative depth
            (a depth file means metres), or depth that 16 bits do not hold at this scale.
    """
    path = Path(path)
    SensorDepth(scale=depth_scale)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FrameError(f'{path}: cannot be made a folder: {error.strerror}') from error
    if any(file.name.endswith(RGB_SUFFIXES) for file in path.iterdir()):
        raise FrameError(f'{path}: has frames already; give an empty or a new folder')
    camera = None
    for index, frame in enumerate(frames):
        what = f'{path}, frame {index}'
        if index == 0:
            camera = frame.intrinsics
            _write_camera(path, camera)
        elif frame.intrinsics != camera:
            raise FrameError(f'{what}: another camera than frame 0; a folder holds one camera')
        _write_frame(path, f'{index:05d}', what, frame, depth_scale)
    return read_folder(path, depth_scale=depth_scale)


def _list_files(path: Path) -> tuple[_Files, ...]:
    images = sorted(
        file
        for file in path.iterdir()
        if file.name.endswith(RGB_SUFFIXES) and not file.name.startswith('.')  # macOS's ._*
    )
    if not images:
        raise FrameError(f'{path}: no colour images; wanted files named *-rgb.png or *-rgb.jpg')
    stems = [image.name.rpartition('-rgb.')[0] for image in images]
    for stem, following in itertools.pairwise(stems):
        if stem == following:
            raise FrameError(f'{path}: frame {stem} has two colour images; take one away')
    depths = [_if_there(path / f'{stem}-depth.png') for stem in stems]
    poses = [_if_there(path / f'{stem}.txt') for stem in stems]
    log = path / 'trajectory.log'
    if not any(poses) and log.is_file():
        poses = _read_trajectory(log, len(images))
    return tuple(map(_Files, stems, images, depths, poses))


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _read_trajectory(path: Path, count: int) -> list[np.ndarray]:
    """Redwood's camera-to-world poses, five lines each: three indices, then a 4x4 matrix."""
    lines = [line for line in read_text(path, FrameError).splitlines() if line.strip()]
    if len(lines) != 5 * count:
        raise FrameError(
            f'{path}: {len(lines)} lines for {count} colour images; wanted 5 for each, in order'
        )
    return [
        _parse_matrix(lines[start + 1 : start + 5], f'{path}, pose {start // 5}')
        for start in range(0, len(lines), 5)
    ]


def _read_rgb(path: Path, upright: bool) -> np.ndarray:
    picture = open_picture(path, str(path), FrameError)
    if upright:
        with contextlib.suppress(Exception):  # EXIF that cannot be read says nothing.
            picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith(('I', 'F')):
        raise FrameError(f'{path}: mode {picture.mode} is depth, not a colour image')
    return np.array(picture.convert('RGB'))


def _read_camera(path: Path) -> tuple[float, float, float, float]:
    k = _read_matrix(path, sizes=((4, 4), (3, 3)))
    camera = (k[0, 0], k[1, 1], k[0, 2], k[1, 2])
    with _naming(path):
        Intrinsics(*camera, 1, 1)
    return camera


def _read_matrix(path: Path, sizes: tuple[tuple[int, int], ...] = ((4, 4),)) -> np.ndarray:
    return _parse_matrix(read_text(path, FrameError).splitlines(), str(path), sizes)


def _parse_matrix(
    lines: Sequence[str], what: str, sizes: tuple[tuple[int, int], ...] = ((4, 4),)
) -> np.ndarray:
    try:
        matrix = np.array([[float(x) for x in line.split()] for line in lines if line.strip()])
    except ValueError as error:
        raise FrameError(f'{what}: not a matrix of numbers: {error}') from error
    if matrix.shape not in sizes:
        raise FrameError(f'{what}: a matrix of shape {matrix.shape}; wanted {sizes[0]}')
    return matrix


def _camera(camera: CameraLike | None, width: int, height: int) -> Intrinsics | None:
    if camera is None or isinstance(camera, Intrinsics):
        return camera
    if isinstance(camera, str):
        return parse_intrinsics(camera, width, height)
    return parse_intrinsics(','.join(map(str, camera)), width, height)


@contextlib.contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Faults of what a file holds name the file."""
    try:
        yield
    except FrameError as error:
        raise FrameError(f'{path}: {error}') from error


def _write_camera(path: Path, camera: Intrinsics | None) -> None:
    if camera is not None:
        matrix = np.eye(4)
        matrix[:3, :3] = camera.matrix()
        for name in ('intrinsic_color.txt', 'intrinsic_depth.txt'):
            write_bytes(path / name, _matrix_text(matrix), FrameError)


def _write_frame(path: Path, stem: str, what: str, frame: Frame, depth_scale: float) -> None:
    if frame.relative_depth is not None:
        raise FrameError(
            f'{what}: its depth is relative, and a depth file means metres; write '
            'frame.without_depth() instead'
        )
    if frame.depth_m is not None:
        units = np.rint(frame.depth_m.astype(np.float64) * depth_scale)
        largest = np.nanmax(units)
        if largest > np.iinfo(np.uint16).max:
            raise FrameError(
                f'{what}: depth of {largest / depth_scale:.4g} m does not fit into 16 bits at '
                f'{depth_scale:g} units a metre; lower depth_scale'
            )
        # What is nearer than half a unit is still there: 0 would mean that it is not.
        raw = np.where(np.isnan(units), 0, np.maximum(units, 1)).astype(np.uint16)
        write_bytes(path / f'{stem}-depth.png', _png(raw), FrameError)
    if frame.pose is not None:
        write_bytes(path / f'{stem}.txt', _matrix_text(frame.pose), FrameError)
    # The colour image makes it a frame of the folder, so that it comes last.
    write_bytes(path / f'{stem}-rgb.png', _png(frame.rgb), FrameError)


def _png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, 'PNG')
    return stream.getvalue()


def _matrix_text(matrix: np.ndarray) -> bytes:
    return '\n'.join(' '.join(repr(float(x)) for x in row) for row in matrix).encode() + b'\n'
