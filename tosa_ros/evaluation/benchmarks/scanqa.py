"""ScanQA: free-form questions about ScanNet scenes, scored letter by letter and as captions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from tosa_ros.errors import DataError, MissingDependencyError
from tosa_ros.evaluation.benchmarks.scenes import SceneBenchmark
from tosa_ros.evaluation.metrics.scanqa import caption_scores, exact_match_at, ranked
from tosa_ros.evaluation.metrics.score import Score
from tosa_ros.evaluation.questions import Defaults, Predictions, Question
from tosa_ros.evaluation.records import field, keeps_back, not_scored, records, texts
from tosa_ros.files import read_json


class ScanQA(SceneBenchmark):
    """`ScanQA_v1.0_val.json` or a test split, and frames by `scene_id`.

    A model here gives one answer, so that EM@10 is EM@1 and is not listed. Predictions made
    elsewhere may be ranked lists.
    """

    name: ClassVar[str] = 'scanqa'
    defaults: ClassVar[Defaults] = Defaults(judged=True)

    @classmethod
    def load(
        cls,
        data: Path,
        *,
        frames_root: Path | None = None,
        depth_scale: float | None = None,
        layout: str | None = None,
    ) -> ScanQA:
        """Reads the questions; scenes are beside them unless `frames_root` is given."""
        questions, found = [], records(read_json(data), data)
        blind = keeps_back(found, 'answers')
        for index, record in enumerate(found):
            where = f'{data}: record {index}'
            text = field(record, 'question', str, where)
            questions.append(
                Question(
                    id=field(record, 'question_id', str, where),
                    text=text,
                    answers=() if blind else texts(record, 'answers', where),
                    category=_kind(text),
                    episode=field(record, 'scene_id', str, where),
                )
            )
        problems = [not_scored(data)] * blind
        return cls(questions, frames_root or data.parent, problems, depth_scale, layout)

    def score(self, predictions: Predictions) -> list[Score]:
        exact = [
            self.score_by(
                f'ScanQA EM@{k} (raw)',
                predictions,
                lambda said, truths, k=k: exact_match_at(k, ranked(said), truths),
            )
            for k in ((1, 10) if any(ranked(p)[1:] for p in predictions.values()) else (1,))
        ]
        try:
            captions = caption_scores(
                {q.id: predictions.get(q.id, '') for q in self.scored},
                {q.id: q.answers for q in self.scored},
            )
        except (MissingDependencyError, DataError) as error:
            self.note(f'BLEU, METEOR, ROUGE-L and CIDEr are not computed: {error}')
            captions = []
        return [*exact, *captions]

    def submission(self, predictions: Predictions) -> list[dict[str, Any]]:
        """The official format; no boxes are predicted."""
        return [
            {
                'scene_id': q.episode,
                'question_id': q.id,
                'answer_top10': list(ranked(predictions[q.id])),
                'bbox': [],
            }
            for q in self.questions
            if q.id in predictions
        ]


def _kind(question: str) -> str:
    """The official scorer's question types; case matters to it."""
    if 'Where' in question:
        return 'Place'
    if 'How many' in question:
        return 'Number'
    if 'What color' in question or 'What is the color' in question:
        return 'Color'
    if any(words in question for words in ('What shape', 'What type', 'What kind')):
        return 'Object nature'
    return 'Object' if 'What is' in question else 'Other'
