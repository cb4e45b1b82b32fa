"""Intervals and paired tests are those of the literature."""

from __future__ import annotations

import numpy as np
import pytest

from tosa_ros.stats import bootstrap_of_sum, mcnemar, sign_flips, wilson


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


def test_sign_flips_of_equal_differences_are_mcnemars():
    differences = np.array([1.0] * 8 + [-1.0] * 2)
    p = sign_flips(differences, np.random.default_rng(0))
    assert p == pytest.approx(mcnemar(8, 2), abs=0.02)
    assert sign_flips(np.array([1.0, -1.0]), np.random.default_rng(0)) == 1.0


def test_the_bootstrap_of_a_sum_is_as_wide_as_theory_says():
    values = np.random.default_rng(1).normal(0.5, 1, 400)
    low, high = bootstrap_of_sum(values, np.random.default_rng(0))
    width = 2 * 1.96 * np.sqrt(400) * values.std()
    assert high - low == pytest.approx(width, rel=0.05)
    assert (low + high) / 2 == pytest.approx(values.sum(), abs=0.05 * width)
    assert bootstrap_of_sum(np.ones(5), np.random.default_rng(0)) == (5.0, 5.0)
