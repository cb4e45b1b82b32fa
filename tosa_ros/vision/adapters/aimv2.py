"""AIMv2 towers of transformers."""

from __future__ import annotations

from typing import Any

import torch.nn as nn
from torch import Tensor

from tosa_ros.vision.adapters.base import Adapter


class Aimv2(Adapter):
    """AIMv2 (transformers): patches alone."""

    title = 'AIMv2'
    names = ('Aimv2VisionModel',)

    def attend(self, layer: nn.Module, x: Tensor, bias: Tensor | None, **kwargs: Any) -> Tensor:
        return x + layer.attention(layer.rms_norm1(x), attention_mask=bias, **kwargs)[0]

    def feed(self, layer: nn.Module, x: Tensor) -> Tensor:
        return x + layer.ffn(layer.rms_norm2(x))

    def attention(self, layer: nn.Module) -> nn.Module:
        return layer.attention
