"""Frames as people have them: paths, pictures, arrays, tensors, open files, videos with times."""

from __future__ import annotations

import hashlib
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from tosa_ros.errors import FrameError, printable
from tosa_ros.frames import Frame
from tosa_ros.sources.images import decoded
from tosa_ros.sources.layouts import is_of_photos
from tosa_ros.sources.opening import VIDEO_SUFFIXES, is_bag, open_source
from tosa_ros.sources.single import read_frame
from tosa_ros.sources.source import FrameSource
from tosa_ros.sources.video import VideoFrames

WANTED = (
    'wanted a Frame (read_frame of tosa_ros.sources makes one of files, with depth), the path of '
    'an image or a folder, (video, seconds), an open file, a PIL image, an array or tensor, or '
    'several of these'
)
CHANNELS = (1, 3, 4)


class Given(NamedTuple):
    """Frames, and what each is called: its path, or '' for one that came from memory."""

    frames: list[Frame]
    names: list[str]


@dataclass(frozen=True, eq=False)
class Part:
    """One thing that a frame or several come from; it is read by `open`.

    key: the same for parts that give the same frames, and holds none of them; it tells files by
        their time of change. copies: whether the frames are new ones whenever it is opened.
    """

    key: Any
    opener: Callable[[], Given] = field(repr=False)
    copies: bool = True

    def open(self) -> Given:
        """Raises FrameError, DepthError or DataError for what cannot be read."""
        return self.opener()


def frames_of(value: Any) -> Given:
    """The frames that a value stands for, in their order.

    Args:
        value: a Frame; the path of an image, which is turned upright as its EXIF says, or of a
            folder, all of whose frames are meant; (path of a video, seconds or a list of them);
            an open file or bytes of an image; a PIL image; an array or tensor, (H, W), (H, W, 3)
            or (3, H, W), uint8, or floats from 0 to 1; a FrameSource; or any number of these.

    Raises:
        FrameError: anything else, nothing at all, or what cannot be read.
        DataError: a video that cannot be read, or that has no frame at a time.
    """
    return gathered(value, Part.open)


def gathered(value: Any, opened: Callable[[Part], Given]) -> Given:
    """The frames of a value's parts, which `opened` gives, as `frames_of` has them."""
    found = Given([], [])
    for part in parts_of(value):
        given = opened(part)
        found.frames.extend(given.frames)
        found.names.extend(given.names)
    if not found.frames:
        raise FrameError('no frames: a question needs at least one')
    return found


def parts_of(value: Any) -> Iterator[Part]:
    """The parts that a value consists of; what is in memory is taken over at once.

    Raises:
        FrameError: something that no frame comes from.
    """
    if isinstance(value, Part):
        yield value
    elif isinstance(value, Frame):
        yield Part(_Same(value), partial(Given, [value], ['']), copies=False)
    elif isinstance(value, str | os.PathLike):
        yield _of_path(Path(value))
    elif isinstance(value, FrameSource):
        yield Part(_Same(value), partial(_whole, value), copies=False)
    elif _is_timed(value):
        yield _of_video(Path(value[0]), value[1])
    elif (pixels := _pixels(value)) is not None:
        yield _of_pixels(pixels)
    elif isinstance(value, Iterable) and not isinstance(value, Mapping):
        for one in value:
            yield from parts_of(one)
    else:
        raise FrameError(f'{_called(value)} gives no frame; {WANTED}')


def _of_path(path: Path) -> Part:
    try:
        path.is_dir()
    except (OSError, ValueError) as error:  # a name that is too long, or no name
        raise FrameError(f'{printable(str(path), 80)}: no such file or folder') from error
    if path.is_dir():
        return Part((str(path), _changed(path)), partial(_of_folder, path))
    if path.suffix.lower() in VIDEO_SUFFIXES:
        raise FrameError(
            f"{path}: a video; say which of its frames by their seconds: ('{path.name}', [1.5, 4])"
        )
    if not path.is_file():
        raise FrameError(f'{printable(str(path))}: no such file or folder')
    return Part((str(path), _changed(path)), partial(_of_image, path))


def frame_part(image: str | Path, **files: Any) -> Part:
    """The frame of an image's path and what `read_frame` takes beside it."""
    path = Path(image)
    if not path.is_file():
        raise FrameError(f'{printable(str(path))}: no such file')
    return Part((str(path), _changed(path), repr(files)), partial(_of_image, path, **files))


def _of_image(path: Path, **files: Any) -> Given:
    return Given([read_frame(path, **files)], [str(path)])


def _of_folder(path: Path) -> Given:
    if is_bag(path):
        raise FrameError(
            f'{path}: a bag; choose frames: tosa_ros.sources.open_source(path).pick([0, 10])'
        )
    return _whole(open_source(path, layout='photos' if is_of_photos(path) else None))


def _whole(source: FrameSource) -> Given:
    where = str(getattr(source, 'path', ''))
    stems = getattr(source, 'stems', range(len(source)))
    names = [os.path.join(where, str(stem)) if where else '' for stem in stems]
    return Given([source[i] for i in range(len(source))], names)


class _Same:
    """Equal for one and the same object, which it does not keep alive."""

    def __init__(self, value: object) -> None:
        self._value, self._hash = weakref.ref(value), id(value)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        value = self._value()
        return isinstance(other, _Same) and value is not None and value is other._value()


def _is_timed(value: Any) -> bool:
    if not isinstance(value, tuple) or len(value) != 2 or not isinstance(value[0], str | Path):
        return False
    times = value[1]
    if isinstance(times, Sequence | np.ndarray) and not isinstance(times, str):
        return bool(len(times)) and all(_is_number(time) for time in times)
    return _is_number(times)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _of_video(path: Path, times: Any) -> Part:
    seconds = [float(time) for time in np.atleast_1d(times)]
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise FrameError(f'{printable(str(path))}: times ({seconds}) go with a video')
    if not path.is_file():
        raise FrameError(f'{printable(str(path))}: no such file')
    key = (str(path), _changed(path), *seconds)
    return Part(key, partial(_at_times, path, seconds))


def _at_times(path: Path, seconds: list[float]) -> Given:
    names = [f'{path}@{time:g}' for time in seconds]
    return Given(VideoFrames(path).nearest(seconds), names)


def _changed(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_mtime_ns, state.st_size


def _of_pixels(rgb: np.ndarray) -> Part:
    # A copy: whoever fills a buffer again and again must not change what waits to be seen.
    data, shape = rgb.tobytes(), rgb.shape
    frame = Frame(np.frombuffer(data, np.uint8).reshape(shape))
    key = (shape, hashlib.blake2b(data, digest_size=16).digest())
    return Part(key, partial(Given, [frame], ['']))


def _pixels(value: Any) -> np.ndarray | None:
    """Pixels (H, W, 3) uint8 of what is in memory; None for what holds none."""
    if isinstance(value, bytes | bytearray | memoryview):
        return decoded(bytes(value), 'the bytes of an image', upright=True)
    if isinstance(value, Image.Image):
        if value.mode.startswith(('I', 'F')):
            raise FrameError(f'PIL image: mode {value.mode} is depth, not a colour image')
        return np.array(ImageOps.exif_transpose(value).convert('RGB'))
    if callable(getattr(value, 'read', None)):
        return _of_file(value)
    if hasattr(value, 'detach') and hasattr(value, 'cpu'):  # torch's, which is not imported here
        tensor = value.detach().cpu()
        whole = not tensor.is_floating_point()
        value = (tensor if whole else tensor.float()).numpy()
    elif not isinstance(value, np.ndarray) or value.dtype == object or value.ndim > 3:
        return None
    if value.ndim > 3:
        return None
    return _colour(value)


def _of_file(file: Any) -> np.ndarray:
    name = printable(str(getattr(file, 'name', 'an open file')))
    try:
        data = file.read()
    except (OSError, ValueError) as error:
        raise FrameError(f'{name}: cannot be read: {error}') from error
    if not isinstance(data, bytes):
        raise FrameError(f"{name}: opened as text; open it with 'rb'")
    return decoded(data, name, upright=True)


def _colour(array: np.ndarray) -> np.ndarray:
    what = f'an array of shape {array.shape}, dtype {array.dtype}'
    wanted = 'wanted (H, W, 3) or (3, H, W), uint8 or floats from 0 to 1'
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.size == 0:
        raise FrameError(f'{what}: {wanted}')
    if array.shape[2] not in CHANNELS and array.shape[0] in CHANNELS:
        array = np.moveaxis(array, 0, 2)
    if array.shape[2] not in CHANNELS:
        raise FrameError(f'{what}: {wanted}')
    if np.issubdtype(array.dtype, np.floating):
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):
            raise FrameError(f'{what}, values from {low:g} to {high:g}: {wanted}')
        array = (array * 255).round().astype(np.uint8)
    if array.dtype != np.uint8:
        raise FrameError(f'{what}: {wanted}')
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array[..., :3]


def _called(value: Any) -> str:
    return f'frames: {printable(repr(value), 60)} ({type(value).__name__})'
