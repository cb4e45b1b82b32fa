"""Intervals and paired tests of questions about pictures: questions of a picture are no strangers.

What is drawn or flipped is a whole picture with all of its questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tosa_ros.stats import mcnemar, sign_flips

DRAWS = 10_000
SEED = 0
_CHUNK = 500


@dataclass(frozen=True)
class Pair:
    """Two methods' answers to the same questions.

    only_first, only_second: questions that only one got right. p: McNemar's exact one, as if all
    questions were independent. p_clustered: sign flips of whole pictures, two-sided.
    """

    only_first: int
    only_second: int
    p: float
    p_clustered: float


def interval(values: Sequence[float], pictures: Sequence[int]) -> tuple[float, float]:
    """95 % interval of the values' mean: a bootstrap over pictures."""
    sums, counts = _by_picture(values, pictures), _by_picture(np.ones(len(values)), pictures)
    draws = np.random.default_rng(SEED)
    means = []
    for _ in range(DRAWS // _CHUNK):
        drawn = draws.integers(0, len(sums), (_CHUNK, len(sums)))
        means.append(sums[drawn].sum(1) / counts[drawn].sum(1))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(low), float(high)


def clustered_p(gaps: Sequence[float], pictures: Sequence[int]) -> float:
    """Two-sided p that the gaps are 0 on average: signs of whole pictures are flipped."""
    sums = _by_picture(gaps, pictures)
    return sign_flips(sums[sums != 0], np.random.default_rng(SEED))


def compared(first: Sequence[bool], second: Sequence[bool], pictures: Sequence[int]) -> Pair:
    """Both tests of two methods' right answers."""
    one, other = np.asarray(first, bool), np.asarray(second, bool)
    only_first, only_second = int((one & ~other).sum()), int((other & ~one).sum())
    gaps = one.astype(float) - other
    p = mcnemar(only_first, only_second)
    return Pair(only_first, only_second, p, clustered_p(gaps, pictures))


def _by_picture(values: Sequence[float], pictures: Sequence[int]) -> np.ndarray:
    _, place = np.unique(np.asarray(pictures), return_inverse=True)
    return np.bincount(place, weights=np.asarray(values, float))
