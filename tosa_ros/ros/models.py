"""What the parameters `model`, `device`, `dtype`, `method`, `keep` and `alpha` stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tosa_ros.assets import embedded_model
from tosa_ros.errors import ModelError
from tosa_ros.merging import METHODS, MergingMethod


def load_half(half: Any, node: Any) -> Any:
    """VisionEncoder or Answerer, of the node's parameters model, device and dtype.

    Raises:
        ModelError: there is no such model or device.
    """
    model, device, dtype = (node.value(name) for name in ('model', 'device', 'dtype'))
    if not model:
        node.get_logger().info('model is empty: using the embedded one, for the tiny world only')
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f'parameter device: {device!r} is not available: {reason}') from error
    return half.from_pretrained(
        model or embedded_model(),
        device=device,
        dtype=None if dtype == 'auto' else getattr(torch, dtype),
    )


def model_name(model: str) -> str:
    """A short name for diagnostics."""
    return Path(model).name or 'embedded'


def merging_of(method: str, keep: float, alpha: str) -> MergingMethod:
    """The merging method of the parameters; each takes those of them that it has."""
    if method == 'none':
        return METHODS['none']()
    settings = {'alpha': alpha} if method == 'tosa' else {}
    return METHODS[method](keep=keep, **settings)
