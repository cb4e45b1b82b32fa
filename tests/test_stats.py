"""Intervals and paired tests are those of the literature."""

from __future__ import annotations

import pytest

from tosa_ros.stats import mcnemar, wilson


def test_wilson_golden():
    # Newcombe 1998, table I: 81 of 263 and 0 of 20.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_wilson_contains_all_right_and_all_wrong_exactly():
    for total in range(1, 200):
        assert wilson(total, total)[1] == 1.0
        assert wilson(0, total)[0] == 0.0


@pytest.mark.parametrize('total', [1, 7, 263])
def test_wilson_contains_the_share_and_mirrors_it(total):
    for right in range(total + 1):
        low, high = wilson(right, total)
        assert 0 <= low <= right / total <= high <= 1
        assert wilson(total - right, total) == pytest.approx((1 - high, 1 - low))


def test_mcnemar_is_a_binomial_test_of_one_half():
    assert mcnemar(8, 2) == pytest.approx(2 * (1 + 10 + 45) / 2**10)
    assert mcnemar(2, 8) == mcnemar(8, 2)
    assert mcnemar(0, 10) == pytest.approx(2 / 2**10)
    assert mcnemar(5, 5) == mcnemar(0, 0) == 1.0
