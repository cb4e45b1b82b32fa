"""Small checkpoints of the three families, with random weights, made once a session."""

from __future__ import annotations

import numpy as np
import pytest

from tosa_ros.frames import Frame, Intrinsics
from tosa_ros.vlm.untrained import write_checkpoint

FAMILY_NAMES = ('llava', 'llava_next', 'llava_onevision')


@pytest.fixture(scope='session')
def checkpoints(tmp_path_factory):
    root = tmp_path_factory.mktemp('checkpoints')
    return {name: write_checkpoint(root / name, family=name, seed=3) for name in FAMILY_NAMES}


@pytest.fixture(params=FAMILY_NAMES)
def checkpoint(request, checkpoints):
    return checkpoints[request.param]


@pytest.fixture
def make_frame():
    def make(seed=0, width=80, height=60, depth='metric', camera=True):
        rng = np.random.default_rng(seed)
        rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        maps = {}
        if depth == 'metric':
            maps['depth_m'] = rng.uniform(0.5, 4, (height, width)).astype(np.float32)
        if depth == 'relative':
            maps['relative_depth'] = rng.random((height, width), dtype=np.float32)
        k = Intrinsics(60, 60, width / 2, height / 2, width, height) if camera else None
        return Frame(rgb, intrinsics=k, stamp=float(seed), **maps)

    return make
