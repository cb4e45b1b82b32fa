"""OpenEQA: open questions about episodes in HM3D and ScanNet, judged by a language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from tosa_ros.errors import DataError
from tosa_ros.evaluation.benchmarks.scenes import SceneBenchmark
from tosa_ros.evaluation.questions import Defaults, Question
from tosa_ros.evaluation.records import field, keeps_back, not_scored, records, texts
from tosa_ros.files import read_json
from tosa_ros.frames import Frame
from tosa_ros.sources import find_episode, is_bag, open_source, read_folder

HM3D = 'hm3d'
HM3D_UNITS_PER_METRE = 6553.5


class OpenEQA(SceneBenchmark):
    """`open-eqa-v0.json`, and frames in `<root>/<episode_history>/`."""

    name: ClassVar[str] = 'openeqa'
    defaults: ClassVar[Defaults] = Defaults(judged=True)

    @classmethod
    def load(
        cls,
        data: Path,
        *,
        frames_root: Path | None = None,
        depth_scale: float | None = None,
        layout: str | None = None,
    ) -> OpenEQA:
        """Reads the question file. The frames' root is, if not given, its folder's `frames`."""
        questions, found = [], records(read_json(data), data)
        blind = keeps_back(found, 'answer')
        for index, record in enumerate(found):
            where = f'{data}: record {index}'
            extra = texts(record, 'extra_answers', where) if record.get('extra_answers') else ()
            answers = () if blind else (field(record, 'answer', str, where), *extra)
            history = field(record, 'episode_history', str, where)
            if '..' in Path(history).parts or Path(history).is_absolute():
                raise DataError(
                    f"{where}: field 'episode_history' is {history!r}; it leaves the frames' root"
                )
            questions.append(
                Question(
                    id=field(record, 'question_id', str, where),
                    text=field(record, 'question', str, where),
                    answers=answers,
                    category=field(record, 'category', str, where),
                    episode=history,
                )
            )
        root = frames_root or (
            data.parent / 'frames' if (data.parent / 'frames').is_dir() else data.parent
        )
        return cls(questions, root, [not_scored(data)] * blind, depth_scale, layout)

    def frames(self, episode: str) -> Sequence[Frame]:
        path = find_episode(self.root, episode)
        if not episode.startswith(HM3D) or not path.is_dir() or is_bag(path):
            return open_source(path, self.depth_scale, self.layout)
        scale = HM3D_UNITS_PER_METRE if self.depth_scale is None else self.depth_scale
        folder = read_folder(path, depth_scale=scale, camera_axes='opengl', layout=self.layout)
        if folder.intrinsics is None:
            return folder
        fx, _, cx, cy = folder.intrinsics  # the published fy is wrong: Habitat's pixels are square
        return replace(folder, intrinsics=(fx, fx, cx, cy))
