"""Vision transformers of timm."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch.nn as nn
from torch import Tensor

from tosa_ros.errors import VisionError
from tosa_ros.vision.adapters.base import Adapter, hook


class Timm(Adapter):
    """timm's VisionTransformer with standard blocks."""

    title = 'timm'
    names = ('VisionTransformer',)

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        for index, block in enumerate(model.blocks):
            parts = ('norm1', 'attn', 'ls1', 'drop_path1', 'norm2', 'mlp', 'ls2', 'drop_path2')
            missing = [part for part in parts if not hasattr(block, part)]
            if missing:
                raise VisionError(
                    f'blocks.{index} is a {type(block).__name__} without {", ".join(missing)}; '
                    "wanted timm's standard Block"
                )
            if 'attn_mask' not in inspect.signature(block.attn.forward).parameters:
                raise VisionError(
                    f'blocks.{index}.attn takes no attn_mask, so tokens cannot be weighted by '
                    'size: update timm to 1.0.11 or later'
                )

    @property
    def layers(self) -> list[nn.Module]:
        return list(self.model.blocks)

    @property
    def protected(self) -> int:
        return self.model.num_prefix_tokens

    def attend(self, layer: nn.Module, x: Tensor, bias: Tensor | None, **kwargs: Any) -> Tensor:
        return x + layer.drop_path1(layer.ls1(layer.attn(layer.norm1(x), attn_mask=bias)))

    def feed(self, layer: nn.Module, x: Tensor) -> Tensor:
        return x + layer.drop_path2(layer.ls2(layer.mlp(layer.norm2(x))))

    def tap(self, layer: nn.Module, listener: Callable[[Tensor], None]) -> Any:
        # k_norm is there (an identity where unused) and sees the keys as (B, heads, T, head_dim).
        return hook(layer.attn.k_norm, listener)

    def keys(self, layer: nn.Module, projected: Tensor) -> Tensor:
        return projected.transpose(1, 2)
