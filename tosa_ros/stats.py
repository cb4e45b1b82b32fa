"""Statistics of right and wrong answers: intervals and paired tests."""

from __future__ import annotations

from math import comb, sqrt

CONFIDENCE_Z = 1.959963984540054  # 95 %, two-sided


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
