"""ViT, DeiT and I-JEPA towers of transformers."""

from __future__ import annotations

from typing import Any

import torch.nn as nn
from torch import Tensor

from tosa_ros.vision.adapters.base import Adapter


class Vit(Adapter):
    """ViT (transformers): one class token."""

    title = 'ViT'
    names = ('ViTModel',)
    protected = 1

    @property
    def layers(self) -> list[nn.Module]:
        return list(self.model.layers)

    def attend(self, layer: nn.Module, x: Tensor, bias: Tensor | None, **kwargs: Any) -> Tensor:
        out = layer.attention(layer.layernorm_before(x), attention_mask=bias, **kwargs)[0]
        return layer.dropout(out) + x

    def feed(self, layer: nn.Module, x: Tensor) -> Tensor:
        return layer.dropout(layer.mlp(layer.layernorm_after(x))) + x

    def attention(self, layer: nn.Module) -> nn.Module:
        return layer.attention


class Deit(Vit):
    """DeiT (transformers): a class and a distillation token."""

    title = 'DeiT'
    names = ('DeiTModel',)
    protected = 2


class IJepa(Vit):
    """I-JEPA (transformers): patches alone."""

    title = 'I-JEPA'
    names = ('IJepaModel',)
    protected = 0
