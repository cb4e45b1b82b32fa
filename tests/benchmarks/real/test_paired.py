"""Tests of pictures and not of questions."""

from __future__ import annotations

import numpy as np

from benchmarks.real.paired import clustered_p, compared, interval


def test_questions_of_one_picture_are_one_piece_of_evidence():
    right = np.ones(40, bool)
    wrong = right.copy()
    wrong[:10] = False
    alone, together = np.arange(40), np.arange(40) // 10
    assert compared(right, wrong, alone).p_clustered < 0.01
    pair = compared(right, wrong, together)
    assert (pair.only_first, pair.only_second) == (10, 0)
    assert pair.p < 0.01 < 0.9 < pair.p_clustered, (
        'one picture differs, which is a coin thrown once'
    )


def test_intervals_hold_the_mean_and_widen_with_clusters():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.random(50) < 0.6, 8).astype(float)
    alone, together = interval(values, np.arange(400)), interval(values, np.repeat(range(50), 8))
    assert together[0] < alone[0] < values.mean() < alone[1] < together[1]


def test_no_difference_is_no_evidence():
    assert clustered_p(np.zeros(5), np.arange(5)) == 1.0
