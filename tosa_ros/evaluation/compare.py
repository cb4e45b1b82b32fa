"""Runs side by side: scores, tokens, and whether a difference is more than chance."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tosa_ros.errors import DataError, printable
from tosa_ros.evaluation.metrics.score import QuestionId, Score, units
from tosa_ros.evaluation.run_folder import SCORES, VALUES
from tosa_ros.files import read_json, refuse_links
from tosa_ros.stats import (
    bootstrap_of_means,
    by_group,
    concentration,
    groups_of,
    paired_p,
    wilson,
)

SEED = 0
SAME = 1e-9  # percentage points: what equal sums differ by


@dataclass(frozen=True)
class Entry:
    """One method of one run, by one metric.

    tokens: visual ones a question; None where they are not known. values, weights, episodes: by
    question, as `Score` has them.
    """

    label: str
    metric: str
    overall: float
    interval: tuple[float, float]
    tokens: float | None
    values: Mapping[QuestionId, float]
    weights: Mapping[QuestionId, float]
    episodes: Mapping[QuestionId, int]

    @classmethod
    def of(cls, label: str, score: Score, cost: Mapping[str, Any]) -> Entry:
        """A method's score and its mean cost, as `results` has them."""
        tokens = cost['tokens_after']
        spread = score.interval or (score.overall, score.overall)
        by_question = (score.values, score.weights, score.episodes)
        return cls(label, score.name, score.overall, spread, tokens, *by_question)


@dataclass(frozen=True)
class Difference:
    """A method against another, in percentage points over the same questions.

    better, worse: on how many questions. over: what the interval and p take for independent.
    """

    label: str
    against: str
    points: float
    interval: tuple[float, float]
    p: float
    better: int
    worse: int
    over: str


def load_entries(runs: Sequence[Path], metric: str | None = None) -> list[Entry]:
    """Every method of every run, by a metric that all have (by default the first run's main).

    Raises:
        DataError: no finished run there, a run without the metric, or runs of other questions.
    """
    entries: list[Entry] = []
    names = [run.resolve().name for run in runs]
    if len({*names}) < len(names):
        names = [str(run) for run in runs]
    for run, name in zip(runs, names, strict=True):
        refuse_links(run)
        if not (run / SCORES).is_file():
            raise DataError(f'{run}: holds no {SCORES}; wanted the folder of a finished run')
        for label, method in _methods(run / SCORES).items():
            if Path(label).name != label or label in ('', '.', '..'):
                raise DataError(f'{run / SCORES}: {label!r} is no label of a method')
            shown = label if len(runs) == 1 else f'{name}/{label}'
            with _as_a_run_writes(f'{run}: {label}'):
                metric = metric or method['scores'][0]['metric']
                entries.append(_entry(run / label / VALUES, shown, method, metric))
    first = entries[0]
    for entry in entries:
        if entry.values.keys() != first.values.keys():
            other = len(entry.values.keys() ^ first.values.keys())
            raise DataError(
                f'{entry.label} and {first.label} differ in {other} questions; a paired '
                'comparison needs the same ones'
            )
    return entries


def differences(entries: Sequence[Entry]) -> list[Difference]:
    """Each entry after the first against the first."""
    return [difference(entry, entries[0]) for entry in entries[1:]]


def difference(entry: Entry, against: Entry) -> Difference:
    """The paired difference of two entries, episodes being the units.

    The interval is a paired bootstrap's over episodes. p is two-sided and not corrected for many
    comparisons (`stats.paired_p`). One episode alone has its questions for units.
    """
    ids, weights = list(against.weights), np.array(list(against.weights.values()))
    gaps = np.array([entry.values[qid] - against.values[qid] for qid in ids]) * weights
    groups = groups_of([against.episodes[qid] for qid in ids])
    if not groups.any():
        groups = np.arange(len(ids))
    draws, points = np.random.default_rng(SEED), float(gaps.sum())
    return Difference(
        entry.label,
        against.label,
        points,
        _spread(gaps, weights, groups, draws),
        paired_p(gaps, groups, draws),
        int((gaps > 0).sum()),
        int((gaps < 0).sum()),
        units(against.episodes),
    )


def _spread(
    gaps: np.ndarray, weights: np.ndarray, groups: np.ndarray, draws: np.random.Generator
) -> tuple[float, float]:
    """The 95 % interval of the mean of weighted gaps, by groups drawn anew.

    Where all groups say the same (two methods answer alike), it goes as far to both sides as
    something that was seen in none of so many groups may be frequent.
    """
    sums, shares = by_group(gaps, groups), by_group(weights, groups)
    if np.ptp(sums / shares) > SAME:
        return bootstrap_of_means(sums[:, None], shares[:, None], np.ones(1), draws)
    points, unseen = float(gaps.sum()), 100 * wilson(0, concentration(weights, groups))[1]
    return max(-100.0, points - unseen), min(100.0, points + unseen)


@contextlib.contextmanager
def _as_a_run_writes(what: str) -> Iterator[None]:
    """Whatever reading files of another shape raises, as a DataError."""
    try:
        yield
    except (TypeError, LookupError, AttributeError, ValueError, ArithmeticError) as error:
        raise DataError(f'{what}: not what a run writes: {printable(repr(error), 100)}') from error


def _methods(path: Path) -> dict[str, dict[str, Any]]:
    """The methods of a `scores.json`, each with at least one score."""
    results = read_json(path)
    with _as_a_run_writes(str(path)):
        if not results['methods']:
            raise ValueError('no methods')
        if not all(method['scores'] for method in results['methods'].values()):
            raise DataError(f'{path}: holds no scores: its questions have no answers')
        return dict(results['methods'])


def _entry(path: Path, label: str, method: dict[str, Any], metric: str) -> Entry:
    stored = {one['metric']: one for one in read_json(path)}
    score = next((s for s in method['scores'] if s['metric'] == metric), None)
    if score is None or metric not in stored:
        raise DataError(
            f'{label}: has no per-question {metric!r}; it has {", ".join(map(repr, stored))}'
        )
    low, high = score['interval_95']
    values, weights = stored[metric]['values'], stored[metric]['weights']
    if 'episodes' not in stored[metric]:
        raise DataError(
            f'{path}: does not say which questions share an episode: an older version wrote it; '
            'run the same command again (no question is asked again)'
        )
    episodes, tokens = stored[metric]['episodes'], method['cost']['tokens_after']
    numbers = [score['overall'], low, high, 0 if tokens is None else tokens]
    numbers += [*values.values(), *weights.values(), *episodes.values()]
    keys = {frozenset(one) for one in (values, weights, episodes)}
    if len(keys) > 1 or not np.isfinite(np.array(numbers, np.float64)).all():
        raise ValueError('numbers that are not finite, or weights of other questions')
    spread = (low, high)
    return Entry(label, metric, score['overall'], spread, tokens, values, weights, episodes)
