"""What merging must know of each backbone: its layers, their two halves, and their keys.

Encoders are recognised by class name, so that no model library is imported here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch.nn as nn
from torch import Tensor

from tosa_ros.errors import VisionError


class Adapter:
    """A pre-norm transformer encoder seen as layers of attention and MLP.

    `attend` and `feed` are the layer's own two halves, residual and all; between them tokens
    merge. `tap` calls back with what the layer's key projection gave, and `keys` reads it.
    """

    names: tuple[str, ...] = ()

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @property
    def layers(self) -> list[nn.Module]:
        return list(self.model.encoder.layers)

    @property
    def protected(self) -> int:
        """Class and register tokens at the front, which never merge."""
        return 0

    def attend(self, layer: nn.Module, x: Tensor, bias: Tensor | None, **kwargs: Any) -> Tensor:
        """x + attention(x), with bias (B, 1, 1, T) added to the key columns."""
        return x + layer.self_attn(layer.layer_norm1(x), attention_mask=bias, **kwargs)[0]

    def feed(self, layer: nn.Module, x: Tensor) -> Tensor:
        """x + mlp(x)."""
        return x + layer.mlp(layer.layer_norm2(x))

    def attention(self, layer: nn.Module) -> nn.Module:
        """The layer's attention, which has `k_proj` and `head_dim`."""
        return layer.self_attn

    def tap(self, layer: nn.Module, listener: Callable[[Tensor], None]) -> Any:
        """Hooks the key projection; returns the hook's handle."""
        return _tap(self.attention(layer).k_proj, listener)

    def keys(self, layer: nn.Module, heard: Tensor) -> Tensor:
        """Keys summed over heads, (B, T, head_dim): their directions are those of the mean."""
        return heard.unflatten(-1, (-1, self.attention(layer).head_dim)).sum(dim=2)


class Siglip(Adapter):
    """SigLIP, and SigLIP 2 of fixed resolution (transformers)."""

    names = ('SiglipVisionModel', 'SiglipVisionTransformer')

    @property
    def layers(self) -> list[nn.Module]:
        return list(_inner(self.model).encoder.layers)


class Siglip2(Siglip):
    """SigLIP 2 NaFlex (transformers), without padding."""

    names = ('Siglip2VisionModel', 'Siglip2VisionTransformer')


class Clip(Siglip):
    """CLIP (transformers): one class token."""

    names = ('CLIPVisionModel', 'CLIPVisionTransformer')
    protected = 1


class Dinov2(Adapter):
    """DINOv2, with and without registers (transformers)."""

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


class Timm(Adapter):
    """timm's VisionTransformer with standard blocks."""

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
        return _tap(layer.attn.k_norm, listener)

    def keys(self, layer: nn.Module, heard: Tensor) -> Tensor:
        return heard.sum(dim=1)


ADAPTERS = (Siglip, Siglip2, Clip, Dinov2, Timm)
SUPPORTED = (
    'SigLIP and SigLIP 2 (SiglipVisionModel, Siglip2VisionModel), CLIP (CLIPVisionModel), '
    'DINOv2 (Dinov2Model, Dinov2WithRegistersModel), timm (VisionTransformer)'
)


def adapter_for(model: nn.Module) -> Adapter:
    """The adapter of a supported encoder.

    Raises VisionError for anything else, with the list of what is supported and, where the
    model contains one encoder that is, the name to pass instead.
    """
    cls = _adapter_class(model)
    if cls is not None:
        return cls(model)
    inside = [name for name, part in model.named_modules() if name and _adapter_class(part)]
    outer = [n for n in inside if not any(n.startswith(f'{other}.') for other in inside)]
    hint = f'; pass its part {outer[0]!r}' if len(outer) == 1 else ''
    raise VisionError(
        f'{type(model).__name__} is not an encoder that tokens can be merged in{hint}. '
        f'Supported: {SUPPORTED}'
    )


def _adapter_class(model: nn.Module) -> type[Adapter] | None:
    names = {cls.__name__ for cls in type(model).__mro__}
    return next((cls for cls in ADAPTERS if names.intersection(cls.names)), None)


def _inner(model: nn.Module) -> nn.Module:
    # transformers before 5.2 wraps the transformer in `vision_model`.
    return getattr(model, 'vision_model', model)


def _tap(projection: nn.Module, listener: Callable[[Tensor], None]) -> Any:
    # Not a closure: a deep copy of the encoder must hear its own keys.
    return projection.register_forward_hook(partial(_pass_on, listener))


def _pass_on(
    listener: Callable[[Tensor], None], module: nn.Module, args: Any, keys: Tensor
) -> None:
    listener(keys)
