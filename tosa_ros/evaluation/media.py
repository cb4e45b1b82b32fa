"""Where an episode's frames are on disk (folder, video, images), decoded only when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tosa_ros.errors import DataError, FrameError, MissingDependencyError, TosaError
from tosa_ros.frame_folder import MILLIMETRES, FrameFolder, read_folder
from tosa_ros.frames import Frame
from tosa_ros.pictures import check_size

VIDEO_SUFFIXES = ('.mp4', '.mkv', '.webm', '.avi', '.mov')
BAG_SUFFIXES = ('.mcap', '.db3', '.bag')


class LazyFrames(Sequence[Frame]):
    """Frames made by functions, one each, whenever one is indexed."""

    def __init__(self, makers: Sequence[Callable[[], Frame]]) -> None:
        self._makers = makers

    def __len__(self) -> int:
        return len(self._makers)

    def __getitem__(self, index: int) -> Frame:
        return self._makers[index]()


class ShorterVideoError(DataError):
    """A video has fewer frames than its container says; its length is known from now on."""


class VideoFrames(Sequence[Frame]):
    """Frames of a video file, colour alone, by PyAV. `pick` decodes the file once.

    notes: what to know of the video.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.notes: list[str] = []
        with self._open() as container:
            # Not every container states its number of frames.
            self._count = container.streams.video[0].frames or sum(
                1 for packet in container.demux(video=0) if packet.size
            )

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Frame:
        return self.pick([range(len(self))[index]])[0]

    def pick(self, indices: Sequence[int]) -> list[Frame]:
        """The frames of these indices, in their order.

        Raises:
            ShorterVideoError: an index past the last frame that there is; pick again.
            DataError: the video is damaged.
        """
        import av

        wanted, found, decoded = set(indices), {}, 0
        with self._open() as container:
            try:
                for index, picture in enumerate(container.decode(video=0)):
                    decoded = index + 1
                    if index in wanted:
                        check_size(picture.width, picture.height, str(self.path), DataError)
                        rgb = picture.to_ndarray(format='rgb24')
                        found[index] = Frame(rgb, stamp=picture.time or 0.0)
                        if len(found) == len(wanted):
                            break
            except av.FFmpegError as error:
                raise DataError(
                    f'{self.path}: damaged after {len(found)} frames: {error}'
                ) from error
        if not decoded:
            raise DataError(f'{self.path}: none of its {self._count} frames can be decoded')
        if len(found) < len(wanted):
            self.notes.append(
                f'{self.path}: says it has {self._count} frames, but only {decoded} can be '
                'decoded (it was cut, or is cut off); those are used'
            )
            self._count = decoded
            raise ShorterVideoError(self.notes[-1])
        return [found[index] for index in indices]

    def nearest(self, times_s: Sequence[float]) -> list[Frame]:
        """The frame nearest to each time (seconds from the video's first frame), in that order.

        Raises:
            DataError: a time before the start or after the end, or the video is damaged.
        """
        import av

        best: dict[float, tuple[float, Any]] = {}
        last = period = 0.0
        with self._open() as container:
            start = None
            try:
                for picture in container.decode(video=0):
                    stamp = float(picture.time or 0.0)
                    start = stamp if start is None else start
                    period, last = stamp - start - last, stamp - start
                    for time_s in times_s:
                        gap = abs(last - time_s)
                        if time_s not in best or gap < best[time_s][0]:
                            best[time_s] = gap, picture
                    if last > max(times_s):
                        break
            except av.FFmpegError as error:
                raise DataError(f'{self.path}: damaged after {last:.3f} s: {error}') from error
            for time_s in times_s:
                if not 0 <= time_s <= last + max(period, 0.0):
                    raise DataError(f'{self.path}: has no {time_s:g} s; it is {last:.3f} s long')
            pictures = [best[time_s][1] for time_s in times_s]
            return [Frame(p.to_ndarray(format='rgb24'), stamp=p.time or 0.0) for p in pictures]

    def _open(self):
        try:
            import av
        except ImportError as error:
            raise MissingDependencyError('av', 'eval', 'reading a video') from error
        try:
            container = av.open(str(self.path))
        except (av.FFmpegError, OSError) as error:
            raise DataError(f'{self.path}: cannot be read as a video: {error}') from error
        if not container.streams.video:
            container.close()
            raise DataError(f'{self.path}: has no video stream')
        try:
            context = container.streams.video[0].codec_context
            check_size(context.width or 1, context.height or 1, str(self.path), DataError)
        except DataError:
            container.close()
            raise
        return container


def pick(
    frames: Sequence[Frame], indices: Sequence[int], note: Callable[[str], None] | None = None
) -> list[Frame]:
    """The frames of these indices, each decoded once.

    note: called with why a frame cannot be read, which is then left out; without it, or if none
        can be read, that is an error.
    """
    if hasattr(frames, 'pick'):
        return frames.pick(indices)
    made: dict[int, Frame | None] = {}
    for index in dict.fromkeys(indices):
        try:
            made[index] = frames[index]
        except TosaError as error:
            if note is None or (index == indices[-1] and not any(made.values())):
                raise
            note(f'a frame cannot be read and is left out: {error}')
            made[index] = None
    return [frame for index in indices if (frame := made[index]) is not None]


def find_episode(root: Path, name: str) -> Path:
    """A folder, a video or a bag called `name` under `root`.

    Raises:
        DataError: there is none; the message says what was looked for.
    """
    for suffix in ('', *VIDEO_SUFFIXES, *BAG_SUFFIXES):
        path = root / f'{name}{suffix}'
        if path.exists():
            return path
    raise DataError(f'{root / name}: no folder of frames, bag or video ({VIDEO_SUFFIXES[0]}, ...)')


def open_frames(path: Path, depth_scale: float | None = None) -> Sequence[Frame]:
    """Frames of a folder in OpenEQA's layout, a video, or a bag.

    depth_scale: a folder's depth units per metre; 1000 if not given.
    """
    if path.suffix in VIDEO_SUFFIXES:
        return VideoFrames(path)
    if is_bag(path):
        from tosa_ros.evaluation.bags.reading import BagFrames

        return BagFrames(path)
    return read_folder(path, depth_scale=MILLIMETRES if depth_scale is None else depth_scale)


def is_bag(path: Path) -> bool:
    """Whether a path is a ROS bag, by its name or what is in it."""
    if path.is_file():
        return path.suffix in BAG_SUFFIXES
    if (path / 'metadata.yaml').is_file():
        return True
    return any(file.suffix in BAG_SUFFIXES for file in path.iterdir())


def without_depth(frames: Sequence[Frame]) -> int:
    """How many frames are known to have no depth, without decoding any."""
    if isinstance(frames, FrameFolder):
        return frames.missing_depth
    return len(frames) if isinstance(frames, VideoFrames) else getattr(frames, 'without_depth', 0)


def first_existing(paths: Sequence[Path], what: str) -> Path:
    """The first of these files that is there. Raises FrameError naming them all."""
    for path in paths:
        if path.is_file():
            return path
    raise FrameError(f'{what}: no such file; looked for {", ".join(map(str, paths))}')
