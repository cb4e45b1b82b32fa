"""What merging is compared with: the papers' ways written out plainly, and a free lunch.

Each takes a tower of its own (see `towers.twin`) and puts its forward into the layers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tosa_ros.merging import MergingMethod, ToMe
from tosa_ros.spatial import SpatialTokens
from tosa_ros.vision import Adapter, adapter_for


def cut(model: nn.Module, method: MergingMethod) -> None:
    """As many tokens a layer as the method leaves, by cutting off the last ones: what merging
    would take if it cost nothing."""
    adapter = adapter_for(model)

    def forward(layer: nn.Module, x: Tensor, remove: int) -> Tensor:
        x = adapter.attend(layer, x, None)
        return adapter.feed(layer, x[:, : x.shape[1] - remove])

    _into_layers(adapter, method, forward)


def plain_tome(model: nn.Module, keep: float) -> None:
    """ToMe as its paper writes it (arXiv 2210.09461), eager, on the fused attention kernel."""
    adapter, state = adapter_for(model), {}

    def forward(layer: nn.Module, x: Tensor, remove: int) -> Tensor:
        if layer is adapter.layers[0]:
            state['size'] = torch.ones_like(x[..., :1])
        attention = layer.self_attn
        normed = layer.layer_norm1(x)
        q, k, v = _heads(attention, normed)
        bias = state['size'].log()[:, None, None, :, 0]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = x + attention.out_proj(out.transpose(1, 2).flatten(2))
        scores = _cosine(k.mean(dim=1))
        x, state['size'], _ = _merge(x, state['size'], None, scores, remove, adapter.protected)
        return adapter.feed(layer, x)

    _into_layers(adapter, ToMe(keep=keep, merge_at='every'), forward)


def published_tosa(model: nn.Module, keep: float, spatial: SpatialTokens) -> None:
    """ToSA as its authors released it (arXiv 2506.20066): attention written out, log(size) on the
    query rows, and every token in order of similarity. spatial: its 72-channel codes."""
    adapter, state = adapter_for(model), {}
    layers = len(adapter.layers)

    def forward(layer: nn.Module, x: Tensor, remove: int) -> Tensor:
        index = state['layer'] = 0 if layer is adapter.layers[0] else state['layer'] + 1
        if index == 0:
            state['size'] = torch.ones_like(x[..., :1])
            codes = F.pad(spatial.features, (0, 0, adapter.protected, 0))
            state['places'] = codes.to(x.dtype)
        attention = layer.self_attn
        q, k, v = _heads(attention, layer.layer_norm1(x))
        weights = q @ k.transpose(-1, -2) * attention.scale + state['size'].log().unsqueeze(1)
        out = weights.softmax(dim=-1, dtype=torch.float32).to(x.dtype) @ v
        x = x + attention.out_proj(out.transpose(1, 2).flatten(2))
        alpha = index / max(layers - 1, 1)
        scores = alpha * _cosine(k.mean(dim=1)) + (1 - alpha) * _cosine(state['places'])
        x, state['size'], state['places'] = _merge(
            x, state['size'], state['places'], scores, remove, adapter.protected
        )
        return adapter.feed(layer, x)

    _into_layers(adapter, ToMe(keep=keep, merge_at='every'), forward)


def _merge(
    x: Tensor, size: Tensor, places: Tensor | None, scores: Tensor, r: int, protected: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Averages by size, as scatter-adds; what stays of the even tokens, then the odd ones."""
    if protected:
        scores[:, 0] = float('-inf')
    best, partner = scores.max(dim=-1)
    order = best.argsort(dim=-1, descending=True)
    gone, stays = order[:, :r], order[:, r:]
    if protected:
        stays = stays.sort(dim=-1).values
    into = partner.gather(1, gone)

    def summed(rows: Tensor) -> Tensor:
        even, odd = rows[:, ::2], rows[:, 1::2]
        moved = even.gather(1, _wide(gone, rows))
        odd = odd.scatter_reduce(1, _wide(into, rows), moved, 'sum')
        return torch.cat([even.gather(1, _wide(stays, rows)), odd], dim=1)

    total = summed(size)
    fused = summed(x * size) / total
    return fused, total, None if places is None else summed(places * size) / total


def _wide(index: Tensor, rows: Tensor) -> Tensor:
    return index.unsqueeze(-1).expand(-1, -1, rows.shape[-1])


def _cosine(keys: Tensor) -> Tensor:
    unit = keys / keys.norm(dim=-1, keepdim=True)
    return unit[:, ::2] @ unit[:, 1::2].transpose(-1, -2)


def _heads(attention: nn.Module, x: Tensor) -> list[Tensor]:
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    return [
        projection(x).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
        for projection in projections
    ]


def _into_layers(adapter: Adapter, method: MergingMethod, forward: Callable) -> None:
    side = adapter.model.config.image_size // adapter.model.config.patch_size
    plan = method.removals(side**2, len(adapter.layers))
    for layer, remove in zip(adapter.layers, plan, strict=True):

        def replaced(x: Tensor, *_: Any, layer: nn.Module = layer, r: int = remove, **__: Any):
            return forward(layer, x, r)

        layer.forward = replaced
