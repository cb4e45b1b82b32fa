"""WUPS by hand-made likenesses, and by WordNet where there is one."""

from __future__ import annotations

import math

import pytest

from benchmarks.real.wups import exact, wordnet_alike, wups
from tosa_ros.errors import DataError, MissingDependencyError

LIKE = {('couch', 'sofa'): 1.0, ('chair', 'sofa'): 0.92, ('dog', 'sofa'): 0.5}


def alike(one, other):
    return LIKE.get(tuple(sorted((one, other))), 0.0)


@pytest.mark.parametrize(
    ('said', 'answer', 'value'),
    [
        ('sofa', 'sofa', 1.0),
        ('couch', 'sofa', 1.0),
        ('chair', 'sofa', 0.92),
        ('dog', 'sofa', 0.05),  # below the threshold: a tenth
        ('lamp', 'sofa', 0.0),
        ('', 'sofa', 0.0),
        ('sofa, lamp', 'lamp, sofa', 1.0),
        ('sofa', 'sofa, lamp', 0.0),  # the product over the answer's words
        ('sofa, chair', 'sofa', 0.92),
        ('chair, dog', 'sofa', 0.92 * 0.05),
    ],
)
def test_lists_are_compared_both_ways(said, answer, value):
    assert math.isclose(wups(said, answer, alike), value)


def test_exact_is_of_sets():
    assert exact('Lamp, sofa', 'sofa, lamp')
    assert not exact('sofa', 'sofa, lamp')
    assert not exact('', 'sofa')


def test_wordnet_knows_what_is_alike():
    try:
        like = wordnet_alike()
    except (DataError, MissingDependencyError) as error:
        pytest.skip(str(error))
    assert like('table', 'table') == 1.0
    assert like('books', 'book') == 1.0  # the same noun
    assert like('sofa', 'couch') == 1.0
    assert 0.9 < like('table', 'desk') < 1
    assert like('sofa', 'zebra') < 0.9
    assert like('garbage_bin', 'bin') == 0.0  # DAQUAR's own word, in no dictionary
