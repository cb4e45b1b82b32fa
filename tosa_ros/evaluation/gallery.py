"""Failures to look at: what was answered wrong, with the frames and how their tokens merged."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from tosa_ros.drawing import draw_tokens, side_by_side, token_map
from tosa_ros.errors import TosaError
from tosa_ros.evaluation.asking import Asking, episode_frames
from tosa_ros.evaluation.metrics.score import QuestionId, Score
from tosa_ros.evaluation.questions import Benchmark, Question
from tosa_ros.frames import Frame
from tosa_ros.merging import MergingMethod, NoMerging

if TYPE_CHECKING:
    from tosa_ros.pipeline import VqaPipeline

FAILURES = 6
FRAMES = 2  # of a question
METHODS = 3  # that are drawn
WIDTH_PX = 240  # of one picture
QUALITY = 80
MAX_BYTES = 2_000_000  # of all pictures of a report
WRONG_BELOW = 50.0  # percent


def failures(
    benchmark: Benchmark,
    scores: Mapping[str, Score],
    said: Mapping[str, Mapping[QuestionId, str]],
    limit: int = FAILURES,
) -> list[dict[str, Any]]:
    """Questions that a method answered wrong, those first on which methods differ most.

    Episodes and categories take turns. scores, said: by method; all scores are of one metric.
    """
    values = {
        q.id: [score.values[q.id] for score in scores.values()]
        for q in benchmark.scored
        if all(q.id in score.values for score in scores.values())
    }
    wrong = [q for q in benchmark.scored if q.id in values and min(values[q.id]) < WRONG_BELOW]
    wrong.sort(key=lambda q: min(values[q.id]) - max(values[q.id]))
    return [
        {
            'question_id': q.id,
            'episode': q.episode,
            'category': q.category,
            'question': q.text,
            'answer': q.answers[0],
            'said': {label: of_method.get(q.id) for label, of_method in said.items()},
            'values': dict(zip(scores, values[q.id], strict=True)),
        }
        for q in _varied(wrong, limit)
    ]


def _varied(questions: Sequence[Question], limit: int) -> list[Question]:
    """The first ones, but before a second one of an episode or category those of others."""
    left, seen, taken = list(questions), Counter(), []
    while left and len(taken) < limit:
        best = min(left, key=lambda q: (seen['episode', q.episode], seen['category', q.category]))
        left.remove(best)
        seen.update([('episode', best.episode), ('category', best.category)])
        taken.append(best)
    return taken


def pictures(
    benchmark: Benchmark,
    shown: Sequence[Mapping[str, Any]],
    asking: Asking,
    pipeline: VqaPipeline | None = None,
    methods: Mapping[str, MergingMethod] | None = None,
) -> dict[QuestionId, bytes]:
    """A JPEG of each failure whose frames can be read, as long as there is room in a report.

    A row a frame: as the model saw it, and its tokens by some methods that merge, those first that
    answered wrong. Without a pipeline the frames alone.
    """
    merging = {
        label: method
        for label, method in (methods or {}).items()
        if pipeline and not isinstance(method, NoMerging)
    }
    found: dict[QuestionId, bytes] = {}
    for one in shown:
        try:
            frames = episode_frames(benchmark, one['episode'], asking)
            rows = _rows(benchmark, one, frames, pipeline, merging)
        except TosaError:
            continue  # That an episode is missing, or not merged, stands in the report already.
        stream = io.BytesIO()
        sheet = Image.fromarray(side_by_side(rows, width=WIDTH_PX))
        sheet.save(stream, 'JPEG', quality=QUALITY, optimize=True)
        if sum(map(len, found.values())) + stream.tell() > MAX_BYTES:
            break
        found[one['question_id']] = stream.getvalue()
    return found


def _rows(
    benchmark: Benchmark,
    one: Mapping[str, Any],
    frames: Sequence[Frame],
    pipeline: VqaPipeline | None,
    merging: Mapping[str, MergingMethod],
) -> list[list[tuple[str, np.ndarray]]]:
    """Captioned pictures of one failure, a row a frame."""
    chosen = benchmark.sampled(len(frames), FRAMES)
    rows = [[(f'frame {i + 1} of {len(frames)}', frames[i].rgb)] for i in chosen]
    values = one.get('values', {})
    for label in sorted(merging, key=lambda label: values.get(label, 0))[:METHODS]:
        pipeline.merging = merging[label]
        for row, i in zip(rows, chosen, strict=True):
            row.append(_tokens(pipeline, frames[i], label))
    return rows


def _tokens(pipeline: VqaPipeline, frame: Frame, label: str) -> tuple[str, np.ndarray]:
    (tokens,) = pipeline.encoder.encode([frame])
    drawn = draw_tokens(frame.rgb, token_map(*pipeline.encoder.patches(frame, tokens)))
    return f'{label}: {len(tokens)} of {tokens.before}', drawn
