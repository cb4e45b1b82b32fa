"""`--depth-model` with Depth Anything's own weights, and with a model that refines a sensor."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('transformers')

import torch
from depth_models import original_depth_anything, write_prompted
from PIL import Image

from tosa_ros.frames import Frame, Intrinsics
from tosa_ros.sources import write_folder
from tosa_ros.vlm.untrained import write_checkpoint

RELATIVE = 'depth_anything_v2_vits.pth'
METRIC = 'depth_anything_v2_metric_hypersim_vits.pth'


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """Models, a photo, and a folder of frames with a sensor's depth."""
    place = tmp_path_factory.mktemp('depth-models')
    write_checkpoint(place / 'model', seed=1)
    state, _ = original_depth_anything(place)
    for name in (RELATIVE, METRIC, 'mine.pth'):
        torch.save(state, place / name)
    write_prompted(place / 'prompted')
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(place / 'photo.png')
    depth = np.linspace(1, 4, 48 * 64, dtype=np.float32).reshape(48, 64)
    camera = Intrinsics(60, 60, 31.5, 23.5, 64, 48)
    write_folder(place / 'rgbd', [Frame(rgb, depth_m=depth, intrinsics=camera)])
    return place


@pytest.fixture
def about(ask, place):
    """Asks a question about a picture of `place`."""
    return lambda frames, *words: ask(place / frames, 'What?', *words, model=place / 'model')


def test_the_authors_weights_give_depth(about, place):
    camera = ('--intrinsics', '60,60,31.5,23.5')
    assert about('photo.png', '--depth-model', place / RELATIVE)['spatial'] == 'levels'
    assert about('photo.png', '--depth-model', place / METRIC, *camera)['spatial'] == 'metric'
    named = f'depth-anything:{place / RELATIVE}'
    assert about('photo.png', '--depth-model', named)['spatial'] == 'levels'


def test_what_cannot_be_a_depth_model_is_one_line(about, place):
    assert 'nothing else tells V1 from V2' in about(
        'photo.png', '--depth-model', place / 'mine.pth'
    )
    assert 'no such file' in about('photo.png', '--depth-model', place / 'gone' / RELATIVE)
    refused = about('photo.png', '--depth-model', place / RELATIVE, '--depth-scale', 9)
    assert 'changes nothing with this --depth-model' in refused


def test_a_prompted_model_refines_the_frames_own_depth(about, place):
    assert about('rgbd', '--depth-model', place / 'prompted')['spatial'] == 'metric'
    refused = about('photo.png', '--depth-model', place / 'prompted')
    assert "refines a sensor's depth in metres; the frame has none" in refused
