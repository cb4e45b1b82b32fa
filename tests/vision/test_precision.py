"""Half precision costs merged towers no more than unmerged ones."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import SiglipVisionConfig, SiglipVisionModel

from tosa_ros.merging import PiToMe, ToFu, ToMe
from tosa_ros.vision import merge_tokens


def recorded(base):
    """A method that notes its matches, and one that repeats them in order."""
    tape = []

    class Noting(base):
        def match(self, *args, **kwargs):
            tape.append(super().match(*args, **kwargs))
            return tape[-1]

    class Repeating(base):
        def match(self, *args, **kwargs):
            return tape.pop(0)

    return Noting, Repeating


def distance(a, b):
    return float((a - b.float()).norm() / a.norm())


@torch.inference_mode()
@pytest.mark.parametrize('keep', [0.1, 0.25, 0.5])
@pytest.mark.parametrize('base', [ToMe, PiToMe, ToFu])
def test_bfloat16_is_as_near_to_float32_merged_as_unmerged(base, keep):
    """Given the same matches: rounding alone may choose other pairs, which are as alike."""
    torch.manual_seed(0)
    size = {'hidden_size': 64, 'intermediate_size': 128, 'num_attention_heads': 4}
    config = SiglipVisionConfig(**size, num_hidden_layers=6, image_size=96, patch_size=8)
    exact = SiglipVisionModel(config).eval()
    rounded = copy.deepcopy(exact).bfloat16()
    image = torch.nn.functional.interpolate(torch.randn(2, 3, 12, 12), 96, mode='bicubic')
    half = image.bfloat16()
    unmerged = distance(exact(image).last_hidden_state, rounded(half).last_hidden_state)
    noting, repeating = recorded(base)
    fill = 0.0
    with merge_tokens(exact, noting(keep=keep)) as merged:
        expected = merged(image).unmerge(fill)
    with merge_tokens(rounded, repeating(keep=keep)) as merged:
        got = merged(half).unmerge(fill)
    assert 1e-4 < distance(expected, got) <= unmerged
