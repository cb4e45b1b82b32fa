"""What benchmarks share whose episodes are folders, videos or bags named after a scene."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tosa_ros.evaluation.questions import Benchmark, Question
from tosa_ros.frames import Frame
from tosa_ros.sources import find_episode, open_source


class SceneBenchmark(Benchmark):
    """Episodes are looked for under one root, as a folder of frames, a video or a bag.

    depth_scale: depth units per metre of folders; by default what the benchmark has.
    layout: of folders; by default the one that their files show.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        root: Path,
        problems: Sequence[str] = (),
        depth_scale: float | None = None,
        layout: str | None = None,
    ) -> None:
        super().__init__(questions, problems)
        self.root, self.depth_scale, self.layout = root, depth_scale, layout

    def frames(self, episode: str) -> Sequence[Frame]:
        return open_source(find_episode(self.root, episode), self.depth_scale, self.layout)
