"""InternViT: the tower of InternVL's -hf checkpoints."""

from __future__ import annotations

from typing import Any

import torch.nn as nn
from torch import Tensor

from tosa_ros.vision.adapters.base import Adapter, hook


class InternVit(Adapter):
    """InternViT (transformers): one class token; keys as its norm, if it has one, leaves them."""

    title = 'InternViT'
    names = ('InternVLVisionModel',)
    protected = 1

    @property
    def layers(self) -> list[nn.Module]:
        return list(self.model.encoder.layer)

    def attend(self, layer: nn.Module, x: Tensor, bias: Tensor | None, **kwargs: Any) -> Tensor:
        out = layer.attention(layer.layernorm_before(x), attention_mask=bias, **kwargs)[0]
        return layer.lambda_1 * out + x

    def feed(self, layer: nn.Module, x: Tensor) -> Tensor:
        out = layer.dropout(layer.mlp(layer.layernorm_after(x)))
        return (out if layer.lambda_2 is None else layer.lambda_2 * out) + x

    def attention(self, layer: nn.Module) -> nn.Module:
        return layer.attention

    def tap(self, layer: nn.Module, listener: Any) -> Any:
        return hook(layer.attention.k_norm, listener)
