"""Towers whose patches are joined behind them merge, are spread again, and merge once more."""

from __future__ import annotations

import pytest
import torch

from tosa_ros.errors import MergingError
from tosa_ros.merging import NoMerging, ToFu, ToMe, ToSA
from tosa_ros.vlm import VisionEncoder
from tosa_ros.vlm.untrained import write_checkpoint


def loaded(folder, family):
    path = write_checkpoint(folder / family, family=family)
    return VisionEncoder.from_pretrained(path, merging=NoMerging(), dtype=torch.float32)


@pytest.fixture(scope='module', params=['gemma3', 'internvl', 'idefics3', 'smolvlm'])
def encoder(request, tmp_path_factory):
    return loaded(tmp_path_factory.mktemp('joining'), request.param)


@pytest.mark.parametrize('method', [ToSA, ToMe, ToFu])
def test_fewer_tokens_leave_each_layer_of_the_tower(encoder, make_frame, method):
    seen = []
    layers = encoder.tower.adapter.layers
    hooks = [
        layer.mlp.register_forward_hook(lambda _, inputs, out: seen.append(out.shape[1]))
        for layer in layers
    ]
    encoder.merging = method(keep=0.25, where='tower', merge_at='every')
    [tokens] = encoder.encode([make_frame(0)])
    for hook in hooks:
        hook.remove()
    own, patches = encoder.tower.adapter.protected, 4 * tokens.before
    assert [count - own for count in seen] == [patches - round(patches * 3 / 8), patches / 4]
    assert len(tokens) == round(tokens.before / 4)


def test_a_token_is_the_mean_of_what_pooling_makes_of_spread_tokens(tmp_path, make_frame):
    encoder = loaded(tmp_path, 'gemma3')
    frame, method = make_frame(0, depth=None), ToMe(keep=0.5, where='tower')
    encoder.merging = method
    [tokens] = encoder.encode([frame])
    encoder.tower.method = method
    with torch.inference_mode():
        merged = encoder.tower(pixel_values=encoder.image_input.pixels(frame.rgb)[None])
        tower = encoder.half.model.vision_tower
        spread = tower.post_layernorm(merged.tokens)[0, merged.source[0]]
        pooled = torch.nn.functional.avg_pool2d(spread.T.view(-1, 8, 8), 2).flatten(1).T
        projector = encoder.half.model.multi_modal_projector
        embeddings = projector.mm_soft_emb_norm(pooled) @ projector.mm_input_projection_weight
    for token in range(len(tokens)):
        mean = embeddings[tokens.source == token].mean(dim=0)
        torch.testing.assert_close(tokens.embeddings[token], mean, rtol=1e-4, atol=1e-5)


def test_the_output_is_its_usual_place(encoder):
    assert encoder.road(ToSA()) == 'output'


def test_a_number_of_tokens_to_remove_is_refused(encoder):
    encoder.merging = ToMe(r=1, where='output')
    with pytest.raises(MergingError, match=r"^r: given, but .*'s tokens merge in the tower"):
        encoder.merging = ToMe(r=1, where='tower')
