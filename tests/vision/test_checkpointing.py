"""Gradient checkpointing while tokens merge: layers run twice, and gradients stay the same."""

from __future__ import annotations

import pytest
import torch
from torch.utils.checkpoint import checkpoint
from towers import tower

from benchmarks.adapters import pixels
from tosa_ros.errors import VisionError
from tosa_ros.merging import ToFu, ToMe, ToSA
from tosa_ros.spatial import PatchGrid, metric_tokens, stack
from tosa_ros.vision import merge_tokens

TOWERS = ['siglip', 'dinov3', 'timm_dinov2']


@pytest.fixture(params=TOWERS)
def named(request):
    return request.param, tower(request.param).train()


def places(batch=2):
    depth = torch.rand(batch, 48, 48, generator=torch.Generator().manual_seed(1)) + 1
    camera, grid = torch.tensor([40.0, 40.0, 24.0, 24.0]), PatchGrid.over(6, 6, 48, 48)
    return stack([metric_tokens(one, camera, grid) for one in depth])


def enable(name, model, **settings):
    if name.startswith('timm'):
        model.set_grad_checkpointing()
    else:
        model.gradient_checkpointing_enable(settings or None)


def calls_of(layers):
    """How often each layer's MLP runs, as a list that is filled while it does."""
    calls = [0] * len(layers)

    def count(index):
        calls[index] += 1

    for index, layer in enumerate(layers):
        layer.mlp.register_forward_pre_hook(lambda *_, index=index: count(index))
    return calls


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def loss_of(merged, name, seed=0):
    torch.manual_seed(seed)  # In training, DINOv3 moves its positions about.
    inputs = {key: value + seed for key, value in pixels(name).items()}
    result = merged(**inputs, spatial=places())
    return result.tokens.square().sum() + result.tokens[:, 3].sum()


def same(a, b):
    assert a.keys() == b.keys()
    assert any(value.abs().sum() > 0 for value in a.values())
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize('method', [ToSA(keep=0.3), ToFu(keep=0.3), ToMe(keep=1.0)], ids=repr)
def test_gradients_are_those_without_checkpointing(named, method):
    name, model = named
    with merge_tokens(model, method) as merged:
        calls = calls_of(merged.adapter.layers)
        wanted = gradients(model, loss_of(merged, name))
        assert calls == [1] * 4
        enable(name, model)
        got = gradients(model, loss_of(merged, name))
        # timm leaves the last segment alone, transformers none.
        assert calls[0] == 3
        same(wanted, got)
        tokens = merged.latest.tokens.shape[1]
        assert tokens == (36 if method.keep == 1 else 11)


def test_two_passes_before_one_backward_pass(named):
    name, model = named
    with merge_tokens(model, ToSA(keep=0.3)) as merged:
        wanted = gradients(model, loss_of(merged, name) + loss_of(merged, name, seed=1))
        enable(name, model)
        got = gradients(model, loss_of(merged, name) + loss_of(merged, name, seed=1))
        same(wanted, got)


def test_a_whole_encoder_may_be_checkpointed(named):
    name, model = named
    with merge_tokens(model, ToSA(keep=0.3)) as merged:
        wanted = gradients(model, loss_of(merged, name))
        outside = checkpoint(loss_of, merged, name, use_reentrant=False)
        same(wanted, gradients(model, outside))


def test_an_older_way_is_refused():
    model = tower('siglip').train()
    model.gradient_checkpointing_enable({'use_reentrant': True})
    with (
        merge_tokens(model, ToSA(keep=0.3)) as merged,
        pytest.raises(VisionError, match='use_reentrant=False'),
    ):
        loss_of(merged, 'siglip').backward()
