"""Statistics of right and wrong answers: intervals and paired tests.

Questions about one scene are no strangers: what is drawn anew or flipped are whole clusters.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import comb, sqrt

import numpy as np

CONFIDENCE_Z = 1.959963984540054  # 95 %, two-sided
DRAWS = 10_000
RESAMPLES = 2_000
_CHUNK = 500
_CELLS = 4_000_000  # drawn at once
_NOTHING = 1e-9  # of percentage points: what sums of zero differ from zero


def groups_of(clusters: Sequence[Hashable]) -> np.ndarray:
    """The clusters' numbers (N,), from 0 in the order in which they come first."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(one, len(numbers)) for one in clusters], np.int64)


def by_group(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Sums (G,) of values (N,) by their groups' numbers (N,)."""
    return np.bincount(groups, weights=values)


def effective_size(values: np.ndarray, groups: np.ndarray) -> float:
    """How many independent right-or-wrong values tell as much as these (N,) of 0 and 1 in groups.

    N over the design effect (Kish 1965), which is 1 or more. Where all are the same, nothing says
    how much a group's values have in common, and they count as one: `concentration`.
    """
    total, mean = len(values), values.mean()
    if not 0 < mean < 1:
        return concentration(np.full(total, 1 / total), groups)
    sums = by_group(values - mean, groups)
    clustered = len(sums) / (len(sums) - 1) * (sums**2).sum() / total**2
    alone = mean * (1 - mean) / (total - 1)
    return total / max(1.0, clustered / alone)


def concentration(weights: np.ndarray, groups: np.ndarray) -> float:
    """How many groups of equal weight would be as good as these, of weights (N,) that sum to 1."""
    return 1 / float((by_group(weights, groups) ** 2).sum())


def wilson(right: float, total: float) -> tuple[float, float]:
    """Wilson's 95 % score interval of the share right / total, in 0..1 (Wilson 1927).

    total: more than 0; an effective number of answers need not be whole.
    """
    z2 = CONFIDENCE_Z**2
    centre = (right + z2 / 2) / (total + z2)
    half = CONFIDENCE_Z * sqrt(right * (total - right) / total + z2 / 4) / (total + z2)
    # Rounding must not put the share outside of its own interval.
    low = 0.0 if right == 0 else centre - half
    high = 1.0 if right == total else centre + half
    return low, high


def mcnemar(only_first: int, only_second: int) -> float:
    """McNemar's exact two-sided p, from the questions that only one of two methods got right."""
    total = only_first + only_second
    if not total:
        return 1.0
    tail = sum(comb(total, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, tail / 2 ** (total - 1))


def bootstrap_of_means(
    sums: np.ndarray, weights: np.ndarray, shares: np.ndarray, draws: np.random.Generator
) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a weighted mean of means.

    sums, weights: (G, T), G groups' weighted values and the weights (or numbers) of them, in each
    of T strata. shares: (T,), what a stratum's mean weighs. What is drawn anew are groups; a
    stratum that none of them has takes no part.
    """
    groups, strata = sums.shape
    chunk = max(1, _CELLS // (groups * strata))
    means = []
    for start in range(0, RESAMPLES, chunk):
        drawn = draws.integers(0, groups, (min(chunk, RESAMPLES - start), groups))
        total, weight = sums[drawn].sum(1), weights[drawn].sum(1)
        there = shares * (weight > 0)
        means.append((there * total / np.where(weight > 0, weight, 1)).sum(1) / there.sum(1))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(low), float(high)


def paired_p(gaps: np.ndarray, groups: np.ndarray, draws: np.random.Generator) -> float:
    """Two-sided p that paired gaps (N,) are nothing but chance, their groups being the units.

    Where all groups that moved did so equally far, it is the exact binomial test (McNemar's, where
    each group is one right-or-wrong question); else signs of whole groups are flipped.
    """
    sums = by_group(gaps, groups)
    moved = sums[np.abs(sums) > _NOTHING]
    if not len(moved) or np.ptp(np.abs(moved)) < _NOTHING:
        return mcnemar(int((moved > 0).sum()), int((moved < 0).sum()))
    return sign_flips(moved, draws)


def sign_flips(differences: np.ndarray, draws: np.random.Generator) -> float:
    """Two-sided p of a permutation test that flips the signs of paired differences (N,)."""
    observed, flipped = abs(differences.sum()), 0
    for _ in range(DRAWS // _CHUNK):
        signs = draws.choice((-1.0, 1.0), (_CHUNK, len(differences)))
        flipped += int((np.abs(signs @ differences) >= observed - 1e-9).sum())
    return (1 + flipped) / (1 + DRAWS)
