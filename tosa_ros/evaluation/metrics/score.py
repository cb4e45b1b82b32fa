"""Score: one metric over a benchmark's questions, with its 95 % interval."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tosa_ros.stats import (
    bootstrap_of_means,
    by_group,
    concentration,
    effective_size,
    groups_of,
    wilson,
)

QuestionId = str | int
Aggregate = Callable[[np.ndarray, np.ndarray], float]

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
    episodes: question id -> the number of its episode, from 0.
    """

    name: str
    overall: float
    by_category: Mapping[str, float] = field(default_factory=dict)
    values: Mapping[QuestionId, float] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    weights: Mapping[QuestionId, float] = field(default_factory=dict)
    episodes: Mapping[QuestionId, int] = field(default_factory=dict)

    def to_dict(self) -> dict:
        """As plain values, without the per-question ones."""
        return {
            'metric': self.name,
            'overall': self.overall,
            'interval_95': None if self.interval is None else list(self.interval),
            'interval_over': None if self.interval is None else units(self.episodes),
            'by_category': dict(self.by_category),
        }


def units(episodes: Mapping[QuestionId, int]) -> str:
    """What an interval or a test takes for independent, in words: episodes, or one's questions."""
    count = len(set(episodes.values()))
    return f'{len(episodes)} questions of one episode' if count == 1 else f'{count} episodes'


def make_score(
    name: str,
    values: Mapping[QuestionId, float],
    categories: Sequence[str],
    aggregate: Aggregate = mean_over_questions,
    episodes: Sequence[Hashable] | None = None,
) -> Score:
    """A Score from per-question values in 0..1.

    categories, episodes: of the questions, in the order of `values`. Without episodes each
    question is its own.
    """
    array = 100.0 * np.fromiter(values.values(), np.float64, len(values))
    labels = np.asarray(categories)
    if array.size == 0:
        return Score(name, float('nan'))
    groups = groups_of(range(len(array)) if episodes is None else episodes)
    return Score(
        name=name,
        overall=aggregate(array, labels),
        by_category={
            category: float(array[labels == category].mean()) for category in sorted(set(labels))
        },
        values=dict(zip(values, array.tolist(), strict=True)),
        interval=interval(array, labels, aggregate, groups.tolist()),
        weights=dict(zip(values, _weights(labels, aggregate).tolist(), strict=True)),
        episodes=dict(zip(values, groups.tolist(), strict=True)),
    )


def interval(
    values: np.ndarray,
    categories: np.ndarray,
    aggregate: Aggregate = mean_over_questions,
    episodes: Sequence[Hashable] | None = None,
) -> tuple[float, float]:
    """The 95 % interval of an aggregate of values in 0..100, for other episodes of their kind.

    Wilson's for a mean of right-or-wrong values, of as many answers as the questions' episodes
    leave independent; else a percentile bootstrap over episodes. Where all values are the same
    (all wrong), it is Wilson's too, of as many answers as there are episodes. With one episode
    alone, or none given, questions are the units.

    episodes: of the questions, in their order.
    """
    groups = groups_of(range(len(values)) if episodes is None else episodes)
    if not groups.any():
        groups = np.arange(len(values))
    if np.ptp(values) == 0:
        size = concentration(_weights(categories, aggregate), groups)
    elif aggregate is mean_over_questions and np.isin(values, (0.0, 100.0)).all():
        size = effective_size(values / 100, groups)
    else:
        return _bootstrap(values, categories, aggregate, groups)
    low, high = wilson(size if (values == 100).all() else size * values.mean() / 100, size)
    return 100 * low, 100 * high


def _bootstrap(
    values: np.ndarray, categories: np.ndarray, aggregate: Aggregate, groups: np.ndarray
) -> tuple[float, float]:
    if aggregate is mean_over_questions:
        strata, shares = np.zeros(len(values), np.int64), np.ones(1)
    else:
        strata = groups_of(categories.tolist())
        shares = by_group(_weights(categories, aggregate), strata)
    width = len(shares)
    size = (int(groups.max()) + 1) * width
    cells = groups * width + strata
    sums = np.bincount(cells, values, size).reshape(-1, width)
    counts = np.bincount(cells, minlength=size).reshape(-1, width)
    return bootstrap_of_means(sums, counts, shares, np.random.default_rng(SEED))


def _weights(labels: np.ndarray, aggregate: Aggregate) -> np.ndarray:
    """Each question's share (N,) of the overall score.

    Aggregates are linear, and equal within a category.
    """
    weights = np.empty(len(labels))
    for category in np.unique(labels):
        mine = labels == category
        weights[mine] = aggregate(mine.astype(float), labels) / mine.sum()
    return weights
