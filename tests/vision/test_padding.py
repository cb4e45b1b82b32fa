"""Padded NaFlex batches: every image merges as it would alone, and padding takes no part."""

from __future__ import annotations

import pytest
import torch
from samples import SMALL
from transformers import Siglip2VisionConfig, Siglip2VisionModel

from tosa_ros.errors import VisionError
from tosa_ros.merging import NoMerging, PiToMe, ToFu, ToMe, ToSA
from tosa_ros.spatial import PatchGrid, level_tokens, metric_tokens, stack
from tosa_ros.vision import merge_tokens

SHAPES = [(5, 7), (6, 6), (3, 4), (1, 1)]
WIDE = 40  # Longer than every image: padding behind all of them.
METHODS = [ToMe, ToFu, PiToMe, ToSA]


def naflex(attention='sdpa'):
    torch.manual_seed(0)
    config = Siglip2VisionConfig(**SMALL, num_patches=36)
    config._attn_implementation = attention
    model = Siglip2VisionModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.15)
    return model


def batch(shapes=SHAPES, wide=WIDE, padding=0.0):
    """Images of these shapes in patches; `padding` fills what is behind them."""
    noise = torch.Generator().manual_seed(3)
    values = torch.full((len(shapes), wide, 3 * 8 * 8), padding)
    mask = torch.zeros(len(shapes), wide, dtype=torch.long)
    for i, (rows, columns) in enumerate(shapes):
        values[i, : rows * columns] = torch.randn(rows * columns, 3 * 8 * 8, generator=noise)
        mask[i, : rows * columns] = 1
    return {
        'pixel_values': values,
        'pixel_attention_mask': mask,
        'spatial_shapes': torch.tensor(shapes),
    }


def alone(inputs, i):
    count = int(inputs['pixel_attention_mask'][i].sum())
    return {
        'pixel_values': inputs['pixel_values'][i : i + 1, :count],
        'pixel_attention_mask': inputs['pixel_attention_mask'][i : i + 1, :count],
        'spatial_shapes': inputs['spatial_shapes'][i : i + 1],
    }


def places(shapes=SHAPES, wide=WIDE, kind=metric_tokens):
    """Spatial tokens of each image alone, and of the padded batch."""
    noise = torch.Generator().manual_seed(1)
    ones = []
    for rows, columns in shapes:
        depth = torch.rand(rows * 8, columns * 8, generator=noise) + 1
        grid = PatchGrid.over(rows, columns, columns * 8, rows * 8)
        camera = torch.tensor([40.0, 40.0, columns * 4, rows * 4])
        ones.append(metric_tokens(depth, camera, grid) if kind is metric_tokens else
                    level_tokens(depth - 1, grid))  # fmt: skip
    padded = [one.padded(wide) for one in ones]
    return ones, stack(padded)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize('attention', ['sdpa', 'eager'])
@pytest.mark.parametrize('kind', [metric_tokens, level_tokens])
@pytest.mark.parametrize('method', METHODS)
def test_every_image_merges_as_alone(method, kind, attention):
    model, inputs = naflex(attention), batch()
    ones, together = places(kind=kind)
    with merge_tokens(model, method(keep=0.3)) as merged:
        got = merged(**inputs, spatial=together)
        pooled = got.output.pooler_output
        assert got.tokens.shape[:2] == got.size.shape == (4, 11)
        assert got.source.shape == (4, WIDE)
        for i, (rows, columns) in enumerate(SHAPES):
            want = merged(**alone(inputs, i), spatial=ones[i])
            patches, left = rows * columns, want.tokens.shape[1]
            assert left == max(1, round(0.3 * patches))
            assert torch.equal(got.source[i, :patches], want.source[0])
            assert (got.source[i, patches:] == -1).all()
            assert torch.equal(got.size[i, :left], want.size[0])
            assert (got.size[i, left:] == 0).all()
            close(got.tokens[i, :left], want.tokens[0])
            torch.testing.assert_close(
                pooled[i], want.output.pooler_output[0], rtol=1e-4, atol=1e-5
            )
            if want.xyz is not None:
                torch.testing.assert_close(got.xyz[i, :left], want.xyz[0], equal_nan=True)
                assert got.xyz[i, left:].isnan().all()
            dense = got.unmerge(fill='nearest')[i, :patches]
            torch.testing.assert_close(
                dense, want.unmerge(fill='nearest')[0], rtol=1e-4, atol=1e-5
            )
            assert got.unmerge()[i, patches:].isnan().all()


@torch.no_grad()
@pytest.mark.parametrize('method', [*METHODS, lambda keep: ToMe(keep=keep, proportional=False)])
def test_what_padding_holds_makes_no_difference(method):
    with merge_tokens(naflex(), method(keep=0.3)) as merged:
        results = [merged(**batch(padding=value)) for value in (0.0, 30.0)]
    assert torch.equal(results[0].source, results[1].source)
    torch.testing.assert_close(results[0].tokens, results[1].tokens, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_without_merging_nothing_changes_and_padding_is_no_token():
    model, inputs = naflex(), batch()
    plain = model(**inputs)
    with merge_tokens(model, NoMerging()) as merged:
        got = merged(**inputs)
    assert torch.equal(got.output.last_hidden_state, plain.last_hidden_state)
    assert torch.equal(got.output.pooler_output, plain.pooler_output)
    assert torch.equal(got.size, inputs['pixel_attention_mask'].float())
    assert torch.equal(got.source >= 0, inputs['pixel_attention_mask'].bool())


def test_gradients_flow():
    model = naflex().train()
    with merge_tokens(model, ToSA(keep=0.3)) as merged:
        merged(**batch(), spatial=places()[1]).tokens.sum().backward()
    assert model.encoder.layers[0].self_attn.v_proj.weight.grad.abs().sum() > 0


def test_padding_before_patches_is_refused():
    inputs = batch()
    inputs['pixel_attention_mask'] = inputs['pixel_attention_mask'].flip(1)
    with (
        merge_tokens(naflex(), ToMe()) as merged,
        pytest.raises(VisionError, match='padding stands before patches'),
    ):
        merged(**inputs)


def test_spatial_tokens_must_be_padded_alike():
    with (
        merge_tokens(naflex(), ToSA()) as merged,
        pytest.raises(VisionError, match='4 images of 50 patches, but the encoder sees 4'),
    ):
        merged(**batch(), spatial=places(wide=50)[1])
