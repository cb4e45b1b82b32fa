"""Intervals and paired tests are those of the literature."""

from __future__ import annotations

import numpy as np
import pytest

from tosa_ros.stats import (
    bootstrap_of_means,
    by_group,
    effective_size,
    groups_of,
    mcnemar,
    paired_p,
    sign_flips,
    wilson,
)


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


def test_the_bootstrap_of_a_mean_is_as_wide_as_theory_says():
    values = np.random.default_rng(1).normal(0.5, 1, 400)
    one, each = np.ones(1), np.ones((400, 1))
    low, high = bootstrap_of_means(values[:, None], each, one, np.random.default_rng(0))
    width = 2 * 1.96 * values.std() / np.sqrt(400)
    assert high - low == pytest.approx(width, rel=0.05)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.05 * width)


def test_the_bootstrap_weighs_strata_and_leaves_out_those_it_did_not_draw():
    """Three groups: two of a stratum worth 1, one of a stratum worth 0."""
    sums, counts = np.array([[5.0, 0], [5, 0], [0, 0]]), np.array([[5, 0], [5, 0], [0, 5]])
    shares = np.array([0.25, 0.75])
    low, high = bootstrap_of_means(sums, counts, shares, np.random.default_rng(0))
    assert (low, high) == (0, 1)


def test_groups_are_numbered_and_summed():
    groups = groups_of(['b', 'a', 'b', ('c',)])
    assert groups.tolist() == [0, 1, 0, 2]
    assert by_group(np.array([1.0, 2, 3, 4]), groups).tolist() == [4, 2, 4]


def test_the_effective_size_is_the_number_of_questions_or_of_groups():
    right = np.random.default_rng(0).integers(0, 2, 300).astype(float)
    assert effective_size(right, np.arange(300)) == pytest.approx(300)
    assert effective_size(np.repeat(right, 4), np.repeat(np.arange(300), 4)) == pytest.approx(
        300, rel=0.01
    )
    assert effective_size(np.zeros(40), np.repeat(np.arange(10), 4)) == pytest.approx(10)
    # Groups that each have one right and one wrong know no less than strangers would.
    assert effective_size(np.tile([0.0, 1], 20), np.repeat(np.arange(20), 2)) == 40


def test_paired_p_takes_groups_as_one():
    gaps, draws = np.ones(12), np.random.default_rng(0)
    assert paired_p(gaps, np.arange(12), draws) == mcnemar(12, 0)
    assert paired_p(gaps, np.repeat(np.arange(4), 3), draws) == mcnemar(4, 0)
    assert paired_p(np.array([1.0, -1, 0]), np.zeros(3, int), draws) == 1
    uneven = paired_p(gaps, np.array([0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8]), draws)
    assert uneven == pytest.approx(2 / 2**9, abs=0.002)
