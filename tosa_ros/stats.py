"""Statistics of right and wrong answers: intervals and paired tests."""

from __future__ import annotations

from math import comb, sqrt

import numpy as np

CONFIDENCE_Z = 1.959963984540054  # 95 %, two-sided
DRAWS = 10_000
_CHUNK = 500


def wilson(right: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of the share right / total, in 0..1 (Wilson 1927).

    total: at least 1.
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


def bootstrap_of_sum(values: np.ndarray, draws: np.random.Generator) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the sum of values (N,)."""
    # Drawing values with replacement is drawing how often each size of them occurs.
    sizes, counts = np.unique(values, return_counts=True)
    sums = [
        draws.multinomial(len(values), counts / len(values), _CHUNK) @ sizes
        for _ in range(DRAWS // _CHUNK)
    ]
    low, high = np.percentile(np.concatenate(sums), [2.5, 97.5])
    return float(low), float(high)


def sign_flips(differences: np.ndarray, draws: np.random.Generator) -> float:
    """Two-sided p of a permutation test that flips the signs of paired differences (N,)."""
    observed, flipped = abs(differences.sum()), 0
    for _ in range(DRAWS // _CHUNK):
        signs = draws.choice((-1.0, 1.0), (_CHUNK, len(differences)))
        flipped += int((np.abs(signs @ differences) >= observed - 1e-9).sum())
    return (1 + flipped) / (1 + DRAWS)
