"""Score: one metric over a benchmark's questions, with its 95 % interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tosa_ros.stats import wilson

QuestionId = str | int
Aggregate = Callable[[np.ndarray, np.ndarray], float]

RESAMPLES = 2000
SEED = 0


def mean_over_questions(values: np.ndarray, categories: np.ndarray) -> float:
    """The plain mean; what most benchmarks report."""
    return float(values.mean())


@dataclass(frozen=True)
class Score:
    """One metric. Everything is in percent.

    name: the metric's exact name, as the report prints it.
    values: question id -> 0..100; every question of the benchmark, unanswered ones included.
        Empty for a metric of the whole corpus (BLEU, CIDEr).
    interval: 95 %; None where there are no per-question values.
    weights: question id -> its share of the overall score; they sum to 1.
    """

    name: str
    overall: float
    by_category: Mapping[str, float] = field(default_factory=dict)
    values: Mapping[QuestionId, float] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    weights: Mapping[QuestionId, float] = field(default_factory=dict)

    def to_dict(self) -> dict:
        """As plain values, without the per-question ones."""
        return {
            'metric': self.name,
            'overall': self.overall,
            'interval_95': None if self.interval is None else list(self.interval),
            'by_category': dict(self.by_category),
        }


def make_score(
    name: str,
    values: Mapping[QuestionId, float],
    categories: Sequence[str],
    aggregate: Aggregate = mean_over_questions,
) -> Score:
    """A Score from per-question values in 0..1, in the order of `categories`."""
    array = 100.0 * np.fromiter(values.values(), np.float64, len(values))
    labels = np.asarray(categories)
    if array.size == 0:
        return Score(name, float('nan'))
    # Aggregates are linear, and equal within a category.
    shares = {c: aggregate((labels == c).astype(float), labels) for c in np.unique(labels)}
    counts = {c: int((labels == c).sum()) for c in shares}
    return Score(
        name=name,
        overall=aggregate(array, labels),
        by_category={
            category: float(array[labels == category].mean()) for category in sorted(set(labels))
        },
        values=dict(zip(values, array.tolist(), strict=True)),
        interval=interval(array, labels, aggregate),
        weights={
            qid: shares[c] / counts[c] for qid, c in zip(values, labels.tolist(), strict=True)
        },
    )


def interval(
    values: np.ndarray, categories: np.ndarray, aggregate: Aggregate = mean_over_questions
) -> tuple[float, float]:
    """The 95 % interval of an aggregate of values in 0..100.

    Wilson's for a mean of right-or-wrong values, else the percentile bootstrap over questions
    (within each category, where the aggregate weighs categories).
    """
    if aggregate is mean_over_questions and np.isin(values, (0.0, 100.0)).all():
        low, high = wilson(int((values == 100.0).sum()), len(values))
        return 100 * low, 100 * high
    draws = np.random.default_rng(SEED)
    groups = [np.arange(len(values))]
    if aggregate is not mean_over_questions:
        groups = [np.flatnonzero(categories == c) for c in np.unique(categories)]
    order = np.concatenate(groups)
    labels = categories[order]
    means = [
        aggregate(values[np.concatenate([draws.choice(g, len(g)) for g in groups])], labels)
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
