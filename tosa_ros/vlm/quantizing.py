"""Weights in 8 or 4 bits, by torchao: a half or less than a third of bfloat16's memory.

Linear layers alone, and not the language model's head; each weight is packed as it is read, so
that the whole model never is in memory. int4 is for layers whose shape its kernels can take; the
others of the model get int8.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tosa_ros.devices import release_memory
from tosa_ros.errors import ModelError

GROUP = 32  # weights with one scale in int4
INT4_ROWS = 16  # int4's kernels want whole blocks of outputs
FEW_ROWS = 8


class Int8Linear(nn.Linear):
    """A linear layer with torchao's int8 weight.

    On a CPU torchao unpacks the whole weight at each call, which takes longer than a word's
    product: torch's own kernel reads it as it is, but is slower for many rows.
    """

    def forward(self, x: Tensor) -> Tensor:
        rows = x.numel() // x.shape[-1]
        if rows > FEW_ROWS or x.device.type != 'cpu' or x.dtype != torch.bfloat16:
            return F.linear(x, self.weight, self.bias)
        scale = self.weight.scale.flatten().to(x.dtype)
        y = torch._weight_int8pack_mm(x.reshape(rows, -1), self.weight.qdata, scale)
        y = y.reshape(*x.shape[:-1], -1)
        return y if self.bias is None else y + self.bias


def quantization(kind: str) -> Any:
    """transformers' quantization_config for 'int8' or 'int4'."""
    from transformers import TorchAoConfig

    return TorchAoConfig(_config_class()(kind == 'int4'))


@cache
def _config_class() -> type:
    """A configuration of torchao's, which decides by layer."""
    from torchao.core.config import AOBaseConfig
    from torchao.quantization import Int8WeightOnlyConfig, quantize_
    from torchao.quantization.transform_module import register_quantize_module_handler

    @dataclass
    class ByLayer(AOBaseConfig):
        four: bool

    @register_quantize_module_handler(ByLayer)
    def shrink(layer: nn.Module, config: ByLayer) -> nn.Module:
        rows, width = layer.weight.shape
        if config.four and width % GROUP == 0 and rows % INT4_ROWS == 0:
            quantize_(layer, _int4(layer.weight.device), filter_fn=_any)
            return layer
        quantize_(layer, Int8WeightOnlyConfig(set_inductor_config=False), filter_fn=_any)
        if type(layer) is nn.Linear:
            layer.__class__ = Int8Linear
        release_memory()  # What it was computed in is several times as large.
        return layer

    return ByLayer


def _any(module: nn.Module, name: str) -> bool:
    return True


def _int4(device: torch.device) -> Any:
    """torchao's configuration of int4 for a kind of device."""
    if device.type == 'cpu':
        # Of the stable ones none computes on CPUs.
        from torchao.prototype.quantization.int4 import PrototypeInt4WeightOnlyConfig

        return PrototypeInt4WeightOnlyConfig(group_size=GROUP, set_inductor_config=False)
    if device.type == 'cuda':
        from torchao.quantization import Int4WeightOnlyConfig

        return Int4WeightOnlyConfig(
            group_size=GROUP,
            int4_packing_format='tile_packed_to_4d',
            set_inductor_config=False,
        )
    raise ModelError(f"quantize: 'int4' is for cpu and cuda, but the device is {device}")
