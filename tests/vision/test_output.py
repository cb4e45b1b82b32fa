"""Merging at the output: the same methods on tokens that have left the encoder."""

from __future__ import annotations

import pytest
import torch

from tosa_ros.errors import VisionError
from tosa_ros.merging import NoMerging, PiToMe, ToFu, ToMe, ToSA
from tosa_ros.spatial import PatchGrid, metric_tokens
from tosa_ros.vision import merge_output, merge_tokens

GRID = PatchGrid.over(6, 8, 64, 48)
COUNT = GRID.patches


def tokens(seed=0, batch=2, width=16, dtype=torch.float32):
    made = torch.randn(batch, COUNT, width, generator=torch.Generator().manual_seed(seed))
    return made.to(dtype)


def wall_and_box():
    depth = torch.full((48, 64), 3.0)
    depth[:, 32:] = 1.0
    return metric_tokens(depth, torch.tensor([60.0, 60, 32, 24]), GRID)


@pytest.mark.parametrize('method', [ToMe, ToSA, ToFu, PiToMe])
@pytest.mark.parametrize('keep', [0.9, 0.5, 0.25, 0.1, 0.01])
def test_keep_is_met_and_tokens_come_in_raster_order(method, keep):
    merged = merge_output(method(keep=keep), tokens())
    left = max(1, round(keep * COUNT))
    assert merged.tokens.shape == (2, left, 16)
    for source in merged.source:
        firsts = [int((source == token).nonzero()[0]) for token in range(left)]
        assert firsts == sorted(firsts)
    if method is not ToFu:
        assert merged.size.sum(dim=1).tolist() == [COUNT, COUNT]


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_tokens_are_means_in_the_given_type(dtype):
    """Summed in float32: the mean of a group is off by its last rounding alone."""
    x = tokens(dtype=dtype)
    merged = merge_output(ToMe(keep=0.1), x)
    assert merged.tokens.dtype == dtype
    for image in range(2):
        for token in range(merged.tokens.shape[1]):
            mean = x[image].double()[merged.source[image] == token].mean(dim=0)
            rtol = 1e-5 if dtype == torch.float32 else 0.004
            token_mean = merged.tokens[image, token].double()
            torch.testing.assert_close(token_mean, mean, rtol=rtol, atol=rtol / 4)


def test_nothing_to_merge_changes_no_bit():
    x = tokens()
    for method in (NoMerging(), ToMe(keep=1.0), ToSA(keep=1.0)):
        merged = merge_output(method, x)
        assert torch.equal(merged.tokens, x)
        assert merged.source[0].tolist() == list(range(COUNT))


def test_by_space_alone_no_token_has_both_surfaces():
    merged = merge_output(ToSA(keep=0.25, alpha=0.0, ward=0), tokens(batch=1), wall_and_box())
    right = torch.arange(COUNT) % 8 >= 4
    for token in range(merged.tokens.shape[1]):
        members = right[merged.source[0] == token]
        assert bool(members.all()) or not bool(members.any())
    assert merged.xyz.shape == (1, 12, 3)
    assert set(merged.xyz[0, :, 2].round(decimals=4).tolist()) == {1.0, 3.0}


def test_only_the_first_channels_are_compared():
    x = tokens(batch=1)
    other = torch.cat([x, tokens(seed=5, batch=1, width=48)], dim=-1)
    one, two = (merge_output(ToMe(keep=0.3), y, keys=16) for y in (x, other))
    assert torch.equal(one.source, two.source)
    assert not torch.equal(one.source, merge_output(ToMe(keep=0.3), other).source)
    torch.testing.assert_close(two.tokens[..., :16], one.tokens)


def test_spatial_tokens_of_another_grid_are_refused():
    with pytest.raises(VisionError, match='for 1 images of 48 tokens, but there are 2 images'):
        merge_output(ToSA(), tokens(), wall_and_box())


def test_an_encoder_alone_has_no_output():
    siglip = pytest.importorskip('transformers.models.siglip')
    config = siglip.SiglipVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        image_size=32, patch_size=8, vision_use_head=False,
    )  # fmt: skip
    encoder = merge_tokens(siglip.SiglipVisionModel(config).eval(), ToMe(where='output'))
    with pytest.raises(VisionError, match=r"^where: 'output', but an encoder alone"):
        encoder(pixel_values=torch.zeros(1, 3, 32, 32))
