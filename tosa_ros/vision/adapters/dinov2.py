"""DINOv2, DINOv3 and RADIO towers of transformers, whose layers have the same shape."""

from __future__ import annotations

from typing import Any

import torch.nn as nn
from torch import Tensor

from tosa_ros.errors import VisionError
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


class Dinov3(Dinov2):
    """DINOv3 ViT (transformers): class and register tokens, rotary positions.

    Keys are compared before they are rotated: they say what a patch is, not where.
    """

    title = 'DINOv3'
    names = ('DINOv3ViTModel',)

    @property
    def layers(self) -> list[nn.Module]:
        return list(self.model.model.layer)

    def standing(self, at: Tensor, kwargs: dict[str, Any]) -> dict[str, Any]:
        turns = tuple(table[at].unsqueeze(1) for table in kwargs['position_embeddings'])
        return {**kwargs, 'position_embeddings': turns}


class Radio(Dinov2):
    """RADIO (transformers): summary and register tokens."""

    title = 'RADIO'
    names = ('RadioModel',)

    @property
    def protected(self) -> int:
        return self.model.config.num_summary_tokens

    def attend(self, layer: nn.Module, x: Tensor, bias: Tensor | None, **kwargs: Any) -> Tensor:
        if 'cu_seqlens' in kwargs:
            raise VisionError(
                'image_grid_hw: packed images cannot be merged; give images of one size as a batch'
            )
        return super().attend(layer, x, bias, **kwargs)
