"""A little NYUv2 of coloured boxes, and a tower too small to know anything."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.real.nyu import CLASSES, DEPTH_SCALE

THINGS = [CLASSES.index(name) for name in ('bed', 'chair', 'lamp', 'table')]
FRAMES = {'train': range(1, 49), 'test': range(49, 53)}


def write_frame(folder, number):
    rng = np.random.default_rng(number)
    rgb = np.full((96, 128, 3), 230, np.uint8)
    depth = np.full((96, 128), 5.0)
    labels = np.zeros((96, 128), np.uint8)
    for column, thing in enumerate(rng.permutation(THINGS)[:2]):
        left, top = 8 + 64 * column + int(rng.integers(8)), int(rng.integers(10, 40))
        where = slice(top, top + 40), slice(left, left + 40)
        rgb[where], labels[where] = rng.integers(0, 255, 3), thing
        depth[where] = rng.uniform(1, 4)
    for part, array, kind in (
        ('rgb', rgb, 'jpg'),
        ('depth', (depth * DEPTH_SCALE).astype(np.uint16), 'png'),
        ('labels40', labels, 'png'),
    ):
        (folder / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(folder / part / f'{number:04d}.{kind}')
    return [CLASSES[i] for i in np.unique(labels) if i]


@pytest.fixture(scope='session')
def nyuv2(tmp_path_factory):
    """A folder of 48 training and 4 test frames with a few human questions."""
    folder = tmp_path_factory.mktemp('nyuv2')
    (folder / 'daquar').mkdir()
    for split, numbers in FRAMES.items():
        rows = []
        for number in numbers:
            things = write_frame(folder, number)
            for category, question, answer in (
                ('object', 'what is on the left side of the wall?', ', '.join(things)),
                ('counting', 'how many things are there?', str(len(things))),
            ):
                image = f'../rgb/{number:04d}.jpg'
                rows.append(
                    {'image': image, 'category': category, 'question': question, 'answer': answer}
                )
        lines = ''.join(json.dumps(row) + '\n' for row in rows)
        (folder / 'daquar' / f'{split}.jsonl').write_text(lines)
    return folder


@pytest.fixture(scope='session')
def tower(tmp_path_factory):
    """The folder of a DINOv2 of two layers with random weights."""
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=70, patch_size=14
    )
    folder = tmp_path_factory.mktemp('tower')
    Dinov2Model(config).save_pretrained(folder)
    return folder
