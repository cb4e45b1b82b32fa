"""VideoFrames: the frames of a video file, upright as its player shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

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
            stream = _moving(container)
            # Not every container states its number of frames.
            self._count = stream.frames or sum(
                1 for packet in container.demux(stream) if packet.size
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
                for index, picture in enumerate(container.decode(_moving(container))):
                    decoded = index + 1
                    if index in wanted:
                        check_size(picture.width, picture.height, str(self.path), DataError)
                        found[index] = self._frame(picture)
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
                for picture in container.decode(_moving(container)):
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
            return [self._frame(picture) for picture in pictures]

    def _frame(self, picture: Any) -> Frame:
        rgb = picture.to_ndarray(format='rgb24')
        matrix = picture.side_data.get('DISPLAYMATRIX')
        if matrix is not None:
            turned = _turned(rgb, np.frombuffer(bytes(matrix), np.int32))
            if turned is None:
                self.notes[f'{self.path}: is shown turned by no right angle; it is not turned'] = 1
            else:
                rgb = turned
        return Frame(rgb, stamp=picture.time or 0.0)

    def _open(self):
        try:
            import av
        except ImportError as error:
            raise MissingDependencyError('av', 'eval', 'reading a video') from error
        try:
            container = av.open(str(self.path))
        except (av.FFmpegError, OSError) as error:
            raise DataError(f'{self.path}: cannot be read as a video: {error}') from error
        try:
            stream = _moving(container)
            if stream is None:
                raise DataError(f'{self.path}: has no video stream')
            context = stream.codec_context
            check_size(context.width or 1, context.height or 1, str(self.path), DataError)
        except DataError:
            container.close()
            raise
        return container


def _moving(container: Any) -> Any | None:
    """The first stream of pictures that move: music and phones also attach covers."""
    from av.stream import Disposition

    still = Disposition.attached_pic | Disposition.timed_thumbnails
    return next((s for s in container.streams.video if not s.disposition & still), None)


def _turned(rgb: np.ndarray, matrix: np.ndarray) -> np.ndarray | None:
    """Pixels (H, W, 3) as a display matrix shows them; None for angles that are not right.

    It takes a pixel (x, y) to (a x + c y, b x + d y), in units of 1 / 65536.
    """
    (a, b), (c, d) = np.rint(matrix[[0, 1, 3, 4]].reshape(2, 2) / 65536).astype(int).tolist()
    if sorted(map(abs, (a, b, c, d))) != [0, 0, 1, 1] or abs(a) != abs(d):
        return None
    across, down = (c, b) if a == 0 else (a, d)
    rgb = rgb.swapaxes(0, 1) if a == 0 else rgb
    return np.ascontiguousarray(rgb[:: 1 if down > 0 else -1, :: 1 if across > 0 else -1])
