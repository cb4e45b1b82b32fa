"""Small depth models with random weights, made once a session."""

from __future__ import annotations

import numpy as np
import pytest
from depth_models import original_depth_anything, write_depth_anything


@pytest.fixture
def rgb():
    """A smooth picture, 60 high and 80 wide, with an edge in it."""
    v, u = np.mgrid[:60, :80]
    picture = np.stack([u * 3, v * 4, (u > 40) * 200], axis=-1)
    return picture.astype(np.uint8)


@pytest.fixture(scope='session')
def relative_checkpoint(tmp_path_factory):
    return write_depth_anything(tmp_path_factory.mktemp('relative'))


@pytest.fixture(scope='session')
def metric_checkpoint(tmp_path_factory):
    return write_depth_anything(tmp_path_factory.mktemp('metric'), 'metric', max_depth=20)


@pytest.fixture(scope='session')
def original(tmp_path_factory):
    """A state dict as Depth Anything's authors name it, and its model."""
    return original_depth_anything(tmp_path_factory.mktemp('original'))
