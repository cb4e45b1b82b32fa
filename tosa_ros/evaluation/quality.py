"""Quality: what merging costs the embedded model, in right answers about the tiny world.

Views and walks are rendered once; every method is asked the same questions, each view's or walk's
at one go, so that methods are compared in pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tosa_ros.errors import DataError
from tosa_ros.evaluation.flops import flops
from tosa_ros.frames import Frame
from tosa_ros.stats import mcnemar, wilson

if TYPE_CHECKING:
    from tosa_ros.pipeline import VqaPipeline

DEPTHS = ('sensor', 'noisy', 'monocular', 'none')
SCENES = ('views', 'walks')
QUESTIONS_A_VIEW = 12
QUESTIONS_A_WALK = 16
MAX_NEW_TOKENS = 6


@dataclass(frozen=True, eq=False)
class Scene:
    """A view (one frame) or a walk (several), its questions, and its frames' kind of depth."""

    frames: tuple[Frame, ...]
    questions: tuple[Any, ...]


def scenes(
    split: str, questions: int, *, of: str = 'views', depth: str = 'sensor', frames: int = 8
) -> list[Scene]:
    """Enough scenes of a split for so many questions, the same ones whatever the depth.

    of: 'views' or 'walks' (of so many frames). depth: 'sensor' (exact metres), 'noisy' (metres
    with a real camera's noise, steps and holes), 'monocular' (metres estimated by the embedded
    estimator), or 'none'.

    Raises:
        DataError: no such split, scenes or depth, or no question wanted.
    """
    from tosa_ros.synthetic import SPLITS, SensorModel, episode, single

    for name, value, known in (
        ('split', split, SPLITS),
        ('scenes', of, SCENES),
        ('depth', depth, DEPTHS),
    ):
        if value not in known:
            raise DataError(f'{name}: {value!r}; wanted one of {", ".join(known)}')
    if questions < 1:
        raise DataError(f'questions: {questions}; wanted at least 1')
    sensor = SensorModel() if depth == 'noisy' else None
    seen = _estimator() if depth == 'monocular' else None
    found: list[Scene] = []
    asked = 0
    while asked < questions:
        index = len(found)
        if of == 'views':
            sample = single(split, index, questions=QUESTIONS_A_VIEW, sensor=sensor)
            shown = (sample.frame,)
        else:
            sample = episode(
                split, index, frames=frames, questions=QUESTIONS_A_WALK, sensor=sensor
            )
            shown = sample.frames
        if depth == 'none':
            shown = tuple(frame.without_depth() for frame in shown)
        elif seen is not None:
            shown = tuple(seen(frame.without_depth()) for frame in shown)
        found.append(Scene(tuple(shown), sample.questions[: questions - asked]))
        asked += len(found[-1].questions)
    return found


def _estimator() -> Callable[[Frame], Frame]:
    from tosa_ros.assets import embedded_depth
    from tosa_ros.depth import MonocularDepth

    return MonocularDepth.from_pretrained(embedded_depth('metric')).annotate


def blinded(scene: Scene) -> Scene:
    """The same questions with nothing to see: black pictures, no depth."""
    black = tuple(Frame(np.zeros_like(frame.rgb)) for frame in scene.frames)
    return Scene(black, scene.questions)


def answers(
    pipeline: VqaPipeline,
    all_scenes: Iterable[Scene],
    size: Callable[[int], None] = lambda n: None,
) -> list[bool]:
    """Whether each question is answered right, word for word, by the pipeline as it is.

    size: is told the visual tokens of each scene.
    """
    right: list[bool] = []
    for scene in all_scenes:
        tokens = pipeline.encoder.encode(scene.frames)
        size(sum(len(t) for t in tokens))
        said = pipeline.answerer.answer_batch(
            [(tokens, question.text) for question in scene.questions],
            max_new_tokens=MAX_NEW_TOKENS,
        )
        right += [
            s.text.strip().lower() == q.answer for s, q in zip(said, scene.questions, strict=True)
        ]
    return right


def summary(right: Sequence[bool], questions: Sequence[Any]) -> dict[str, Any]:
    """Accuracy with its 95 % interval, over all questions and by type, baseline beside it."""
    hits = np.asarray(right, bool)
    kinds = np.array([q.type for q in questions])
    result = _share(hits) | {'baseline': baseline(questions), 'by_type': {}}
    for kind in dict.fromkeys(kinds.tolist()):
        of_kind = [q for q in questions if q.type == kind]
        result['by_type'][kind] = _share(hits[kinds == kind]) | {'baseline': baseline(of_kind)}
    return result


def _share(hits: np.ndarray) -> dict[str, Any]:
    low, high = wilson(int(hits.sum()), len(hits))
    return {'accuracy': float(hits.mean()), 'interval_95': [low, high], 'n': len(hits)}


def baseline(questions: Sequence[Any]) -> float:
    """What one gets blind: each type's most frequent answer, or its options' even chance.

    The better of the two, for each type; over several types, by their numbers of questions.
    """
    total = 0.0
    for kind in {q.type for q in questions}:
        of_kind = [q for q in questions if q.type == kind]
        majority = Counter(q.answer for q in of_kind).most_common(1)[0][1]
        chance = sum(1 / len(q.options) for q in of_kind if q.options)
        total += max(majority, chance)
    return total / len(questions)


@dataclass(frozen=True)
class Pair:
    """First against second over the same questions: right only there, and McNemar's exact p."""

    only_first: int
    only_second: int
    p: float


def compared(first: Sequence[bool], second: Sequence[bool]) -> Pair:
    """McNemar's exact two-sided test.

    Raises: DataError: they answer different numbers of questions.
    """
    if len(first) != len(second):
        raise DataError(
            f'{len(first)} and {len(second)} answers; a paired test needs the same questions'
        )
    a = sum(x and not y for x, y in zip(first, second, strict=True))
    b = sum(y and not x for x, y in zip(first, second, strict=True))
    return Pair(a, b, mcnemar(a, b))


def gigaflops(pipeline: VqaPipeline, scene: Scene) -> float:
    """10^9 operations of matrix products and attention, as executed, for one question."""

    def ask() -> None:
        tokens = pipeline.encoder.encode(scene.frames)
        pipeline.answerer.answer_batch([(tokens, scene.questions[0].text)], max_new_tokens=1)

    return flops(ask) / 1e9
