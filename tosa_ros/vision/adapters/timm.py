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
    parts = ('norm1', 'attn', 'ls1', 'drop_path1', 'norm2', 'mlp', 'ls2', 'drop_path2')

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        for index, block in enumerate(model.blocks):
            missing = [part for part in self.parts if not hasattr(block, part)]
            if missing:
                raise VisionError(
                    f'blocks.{index} is a {type(block).__name__} without {", ".join(missing)}; '
                    "wanted timm's standard pre-norm blocks"
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
        return x + layer.drop_path1(layer.ls1(self._look(layer, x, bias, **kwargs)))

    def feed(self, layer: nn.Module, x: Tensor) -> Tensor:
        return x + layer.drop_path2(layer.ls2(layer.mlp(layer.norm2(x))))

    def tap(self, layer: nn.Module, listener: Callable[[Tensor], None]) -> Any:
        # k_norm is there (an identity where unused) and sees the keys as (B, heads, T, head_dim).
        return hook(layer.attn.k_norm, listener)

    def keys(self, layer: nn.Module, projected: Tensor) -> Tensor:
        return projected.transpose(1, 2)

    def _look(self, layer: nn.Module, x: Tensor, bias: Tensor | None, **kwargs: Any) -> Tensor:
        if kwargs.pop('is_causal', False):
            raise VisionError(
                'is_causal: merged tokens have no order to look back in; leave it False'
            )
        return layer.attn(layer.norm1(x), attn_mask=bias, **kwargs)


class TimmEva(Timm):
    """timm's Eva: EVA-02, its DINOv3 and Perception Encoder, with rotary positions."""

    title = 'timm EVA'
    names = ('Eva',)
    parts = ('norm1', 'attn', 'gamma_1', 'drop_path1', 'norm2', 'mlp', 'gamma_2', 'drop_path2')

    def attend(self, layer: nn.Module, x: Tensor, bias: Tensor | None, **kwargs: Any) -> Tensor:
        out = self._look(layer, x, bias, **kwargs)
        return x + layer.drop_path1(out if layer.gamma_1 is None else layer.gamma_1 * out)

    def feed(self, layer: nn.Module, x: Tensor) -> Tensor:
        out = layer.mlp(layer.norm2(x))
        return x + layer.drop_path2(out if layer.gamma_2 is None else layer.gamma_2 * out)

    def standing(self, at: Tensor, kwargs: dict[str, Any]) -> dict[str, Any]:
        rope = kwargs.get('rope')
        if rope is None:
            return kwargs
        if rope.ndim > 3:
            raise VisionError(
                'rope: positions that differ from image to image (patch dropout) cannot follow '
                'merged tokens; set patch_drop_rate to 0'
            )
        # (patches, channels) or (heads, patches, channels) -> (B, heads or 1, T', channels).
        turns = rope[at].unsqueeze(1) if rope.ndim == 2 else rope[:, at].transpose(0, 1)
        return {**kwargs, 'rope': turns}
