"""An image processor whose square is not the one that the tower was made for."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoModelForImageTextToText, CLIPImageProcessorPil

from tosa_ros.errors import ModelError
from tosa_ros.merging import NoMerging, ToSA
from tosa_ros.vlm import Answerer, VisionEncoder, untrained
from tosa_ros.vlm.image_input import ImageInput

QUESTION = 'Which is nearer?'
PIXELS = {'image_mean': [0.5] * 3, 'image_std': [0.5] * 3, 'resample': 3}


@pytest.fixture(scope='module')
def write(tmp_path_factory):
    """Writes a LLaVA with this tower, whose processor makes squares of `side` pixels."""

    def to(tower, side):
        layout = untrained.Layout(tower, 'llama', 'CLIPImageProcessor', tiles=False)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(untrained.LAYOUTS, 'llava', layout)
            path = tmp_path_factory.mktemp('crop') / tower
            untrained.write_checkpoint(path, family='llava', seed=5)
        file = path / 'preprocessor_config.json'
        settings = json.loads(file.read_text())
        settings |= {'crop_size': {'height': side, 'width': side}, 'size': {'shortest_edge': side}}
        file.write_text(json.dumps(settings))
        return path

    return to


@pytest.fixture(scope='module')
def tower_side():
    return untrained.SIZES['tiny'].vision['image_size']


@pytest.mark.parametrize('patches', [-2, 0, 2])
def test_logits_are_those_of_transformers(write, make_frame, tower_side, patches):
    patch_size = untrained.SIZES['tiny'].vision['patch_size']
    side = tower_side + patches * patch_size
    path, frame = write('dinov2', side), make_frame(1)
    encoder = VisionEncoder.from_pretrained(path, merging=NoMerging(), dtype=torch.float32)
    answerer = Answerer.from_pretrained(path, dtype=torch.float32)
    (tokens,) = encoder.encode([frame])
    count = (side // patch_size) ** 2
    assert len(tokens.embeddings) == count == encoder.image_input.grid(80, 60).patches
    pixels = CLIPImageProcessorPil.from_pretrained(path)(frame.rgb, return_tensors='pt')
    torch.testing.assert_close(
        encoder.image_input.pixels(frame.rgb), pixels['pixel_values'][0].float(), rtol=0, atol=1e-6
    )
    model = AutoModelForImageTextToText.from_pretrained(path, dtype=torch.float32).eval()
    ids = []
    for one in answerer.prompt.ids(QUESTION, 1):
        ids += [one] * (count if one == model.config.image_token_id else 1)
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([ids]), **pixels).logits[0]
        embeds = answerer.embed([tokens], QUESTION)
        logits = answerer.model(inputs_embeds=embeds[None]).logits[0]
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


def test_keep_counts_the_patches_of_the_processor(write, make_frame, tower_side):
    patch_size = untrained.SIZES['tiny'].vision['patch_size']
    path = write('dinov2', tower_side + 2 * patch_size)
    encoder = VisionEncoder.from_pretrained(path, merging=ToSA(keep=0.25))
    (tokens,) = encoder.encode([make_frame(1)])
    assert len(tokens.embeddings) == round(0.25 * (tower_side // patch_size + 2) ** 2)


def test_a_tower_that_sees_one_size_alone(write, tower_side):
    path = write('clip_vision_model', tower_side - 8)
    said = rf'squares of {tower_side - 8} pixels, and its tower \(clip_vision_model\) sees'
    with pytest.raises(ModelError, match=said):
        VisionEncoder.from_pretrained(path)


@pytest.mark.parametrize(
    ('settings', 'side'),
    [
        ({'crop_size': 40}, 40),
        ({'crop_size': {'height': 40, 'width': 40}, 'size': {'shortest_edge': 56}}, 40),
        ({'crop_size': {'shortest_edge': 40}}, 40),
        ({'size': {'height': 40, 'width': 40}}, 40),
        ({'do_pad': True, 'crop_size': 40, 'size': {'shortest_edge': 40}}, 40),
        ({'do_center_crop': False, 'do_pad': True, 'size': {'shortest_edge': 40}}, 40),
        ({}, 48),
    ],
)
def test_the_square_of_a_processor(settings, side):
    assert ImageInput({**PIXELS, **settings}, 'processor', 48, 8).image_size == side
    assert ImageInput({**PIXELS, **settings}, 'stretch', 48, 8).image_size == 48


def test_a_crop_that_is_no_square():
    settings = {**PIXELS, 'crop_size': {'height': 40, 'width': 56}}
    with pytest.raises(ModelError, match=r"crop_size is \{'height': 40, .*; wanted a square"):
        ImageInput(settings, 'processor', 48, 8)
