"""How a checkpoint's weights are held: which revision, in how many bits, on which devices."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, TypedDict

import torch

from tosa_ros.errors import MissingDependencyError, ModelError
from tosa_ros.settings import ATTENTION, QUANTIZE


class WeightOptions(TypedDict, total=False):
    """Keyword arguments of whatever loads a model; `Weights` says what they mean."""

    quantize: str | None
    attn_implementation: str | None
    revision: str | None


class MappedWeightOptions(WeightOptions, total=False):
    """Those of what also loads a language model."""

    device_map: str | dict[str, Any] | None


# Options of the weights of a vision half that is loaded from the checkpoint.
OF_A_TOWER = ('quantize', 'attn_implementation')


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Checked options.

    quantize: 'int8' or 'int4', bits of the weights of linear layers (quantizing.py).
    attn_implementation: transformers' name of how attention is computed; by default 'sdpa', or
        what transformers takes for the family. revision: branch, tag or commit of a hub id.
    device_map: as transformers has it: 'auto' spreads the layers over all devices, by accelerate.

    Raises ModelError for what is not allowed, and MissingDependencyError.
    """

    quantize: str | None = None
    attn_implementation: str | None = None
    revision: str | None = None
    device_map: str | dict[str, Any] | None = None

    def __post_init__(self) -> None:
        for row, name in ((QUANTIZE, 'quantize'), (ATTENTION, 'attn_implementation')):
            value = getattr(self, name)
            if value is not None and value not in row.kind.choices[1:]:
                wanted = ', '.join(row.kind.choices[1:])
                raise ModelError(f'{name}: {value!r}; wanted one of {wanted}, or None')
        if self.revision is not None and not (isinstance(self.revision, str) and self.revision):
            raise ModelError(f'revision: {self.revision!r}; wanted a branch, tag or commit')
        if self.device_map is not None:
            if self.device_map != 'auto' and not isinstance(self.device_map, dict):
                raise ModelError(
                    f"device_map: {self.device_map!r}; wanted 'auto', or a device for each module"
                )
            if find_spec('accelerate') is None:
                raise MissingDependencyError('accelerate', 'device-map', 'device_map')
        if self.quantize is not None:
            why = f'quantize={self.quantize!r}'
            if find_spec('torchao') is None:
                raise MissingDependencyError('torchao', 'quantize', why)
            if find_spec('accelerate') is None:
                raise MissingDependencyError('accelerate', 'quantize', why)

    def dtype(self, given: torch.dtype | None) -> torch.dtype | None:
        """The type that the weights are read in, of what was asked for."""
        if self.quantize != 'int4':
            return given
        # The kernels of CPUs take 60 times as long in float32; those of GPUs know no other type.
        if given not in (None, torch.bfloat16):
            raise ModelError(f"quantize: 'int4' computes in bfloat16, but dtype is {given}")
        return torch.bfloat16

    def place(self, device: str | torch.device) -> str | dict[str, Any] | None:
        """The device map to load by; None where the model moves to the device afterwards."""
        if self.device_map is None and self.quantize is not None:
            return {'': device}  # Packed weights belong to the kind of device they are packed on.
        return self.device_map
