"""FrameSource: frames in order, each decoded when it is asked for; folder, video and bag alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from tosa_ros.errors import TosaError
from tosa_ros.frames import Frame


class FrameSource(Sequence[Frame]):
    """The interface of every source of frames.

    A source has a length, gives a frame by its index, and:

    notes: problems of its frames, and how often each occurred. More may come while it is read.
    """

    notes: Counter[str]

    @property
    def missing_depth(self) -> int:
        """How many frames are known to have no depth, without decoding any."""
        return 0

    def pick(self, indices: Sequence[int]) -> list[Frame]:
        """The frames of these indices, each decoded once; those that cannot be read are noted.

        Raises:
            TosaError: not one of them can be read.
        """
        made: dict[int, Frame] = {}
        fault = None
        for index in dict.fromkeys(indices):
            try:
                made[index] = self[index]
            except TosaError as error:
                self.notes[f'a frame cannot be read and is left out: {error}'] += 1
                fault = error
        if fault is not None and not made:
            raise fault
        return [made[index] for index in indices if index in made]


class LazyFrames(FrameSource):
    """Frames made by functions, one each, whenever one is indexed."""

    def __init__(self, makers: Sequence[Callable[[], Frame]]) -> None:
        self.notes = Counter()
        self._makers = makers

    def __len__(self) -> int:
        return len(self._makers)

    def __getitem__(self, index: int) -> Frame:
        return self._makers[index]()


class HeldFrames(FrameSource):
    """Frames that are in memory already."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.notes = Counter()
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Frame:
        return self._frames[index]


def as_source(frames: Sequence[Frame]) -> FrameSource:
    """A source of any frames; a source is returned as it is."""
    return frames if isinstance(frames, FrameSource) else HeldFrames(frames)
