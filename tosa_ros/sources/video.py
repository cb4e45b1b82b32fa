"""VideoFrames: the frames of a video file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tosa_ros.errors import DataError, MissingDependencyError
from tosa_ros.frames import Frame
from tosa_ros.pictures import check_size
from tosa_ros.sources.source import FrameSource


class ShorterVideoError(DataError):
    """A video has fewer frames than its container says; its length is known from now on."""


class VideoFrames(FrameSource):
    """Frames of a video file, colour alone, by PyAV. `pick` decodes the file once."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.notes = Counter()
        with self._open() as container:
            # Not every container states its number of frames.
            self._count = container.streams.video[0].frames or sum(
                1 for packet in container.demux(video=0) if packet.size
            )

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Frame:
        return self.pick([range(len(self))[index]])[0]

    @property
    def missing_depth(self) -> int:
        """The number of its frames: a video has no depth."""
        return len(self)

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
            note = (
                f'{self.path}: says it has {self._count} frames, but only {decoded} can be '
                'decoded (it was edited, or is truncated); those are used'
            )
            self.notes[note] += 1
            self._count = decoded
            raise ShorterVideoError(note)
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
                    raise DataError(
                        f'{self.path}: has no frame at {time_s:g} s; it is {last:.3f} s long'
                    )
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
