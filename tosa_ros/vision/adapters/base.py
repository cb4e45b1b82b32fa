"""Adapter: what merging must know of an encoder. One module here a backbone derives from it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch.nn as nn
from torch import Tensor


class Adapter:
    """A pre-norm transformer encoder seen as layers of attention and MLP.

    `attend` and `feed` are the layer's own two halves, residual and all; between them tokens
    merge. `tap` calls back with what the layer's key projection gave, and `keys` reads it.

    names: class names of the encoders, also of their base classes. title: what people call them.
    """

    title: ClassVar[str] = ''
    names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @property
    def layers(self) -> list[nn.Module]:
        return list(self.model.encoder.layers)

    @property
    def protected(self) -> int:
        """Class and register tokens at the front, which never merge."""
        return 0

    @property
    def heads(self) -> list[nn.Module]:
        """Modules behind the layers whose second argument is a mask of patches."""
        return []

    def attend(self, layer: nn.Module, x: Tensor, bias: Tensor | None, **kwargs: Any) -> Tensor:
        """x + attention(x), with bias (B, 1, 1, T) added to the key columns."""
        return x + layer.self_attn(layer.layer_norm1(x), attention_mask=bias, **kwargs)[0]

    def standing(self, at: Tensor, kwargs: dict[str, Any]) -> dict[str, Any]:
        """A layer's keyword arguments once tokens have merged: rows of patches by token.

        at (B, T'): the patch that each token stands at, `MergeState.middle`. For layers that are
        told positions, such as rotary ones; others have nothing to change.
        """
        return kwargs

    def feed(self, layer: nn.Module, x: Tensor) -> Tensor:
        """x + mlp(x)."""
        return x + layer.mlp(layer.layer_norm2(x))

    def attention(self, layer: nn.Module) -> nn.Module:
        """The layer's attention, which has `k_proj` and `head_dim`."""
        return layer.self_attn

    def tap(self, layer: nn.Module, listener: Callable[[Tensor], None]) -> Any:
        """Hooks the key projection; returns the hook's handle."""
        return hook(self.attention(layer).k_proj, listener)

    def keys(self, layer: nn.Module, projected: Tensor) -> Tensor:
        """Keys of each head, (B, T, heads, head_dim)."""
        return projected.unflatten(-1, (-1, self.attention(layer).head_dim))


def hook(projection: nn.Module, listener: Callable[[Tensor], None]) -> Any:
    """Calls the listener with the module's output from here on; returns the hook's handle."""
    # Not a closure: a deep copy of the encoder must listen to its own keys.
    return projection.register_forward_hook(partial(_pass_on, listener))


def _pass_on(
    listener: Callable[[Tensor], None], module: nn.Module, args: Any, output: Tensor
) -> None:
    listener(output)
