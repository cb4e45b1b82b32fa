"""DINOv2 towers of transformers."""

from __future__ import annotations

from typing import Any

import torch.nn as nn
from torch import Tensor

from tosa_ros.vision.adapters.base import Adapter


class Dinov2(Adapter):
    """DINOv2, with and without registers (transformers)."""

    title = 'DINOv2'
    names = ('Dinov2Model', 'Dinov2WithRegistersModel')

    @property
    def layers(self) -> list[nn.Module]:
        return list(self.model.encoder.layer)

    @property
    def protected(self) -> int:
        return 1 + getattr(self.model.config, 'num_register_tokens', 0)

    def attend(self, layer: nn.Module, x: Tensor, bias: Tensor | None, **kwargs: Any) -> Tensor:
        out = layer.attention(layer.norm1(x), attention_mask=bias, **kwargs)[0]
        return layer.drop_path(layer.layer_scale1(out)) + x

    def feed(self, layer: nn.Module, x: Tensor) -> Tensor:
        return layer.drop_path(layer.layer_scale2(layer.mlp(layer.norm2(x)))) + x

    def attention(self, layer: nn.Module) -> nn.Module:
        return layer.attention
