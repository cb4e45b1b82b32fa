"""What the node parameters `model`, `device`, `dtype`, `method`, `keep`, `alpha` stand for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tosa_ros.merging import METHODS, MergingMethod

EMBEDDED_MODEL = Path(__file__).parent.parent / 'assets' / 'tiny-vlm'


def model_path(model: str) -> str:
    """The checkpoint that the parameter `model` names; empty is the embedded one."""
    return model or str(EMBEDDED_MODEL)


def model_name(model: str) -> str:
    """A short name for diagnostics."""
    return Path(model).name if model else EMBEDDED_MODEL.name


def load_half(half: Any, value: Callable[[str], Any]) -> Any:
    """VisionEncoder or Answerer, of the parameters model, device and dtype."""
    import torch

    dtype = value('dtype')
    return half.from_pretrained(
        model_path(value('model')),
        device=value('device'),
        dtype=None if dtype == 'auto' else getattr(torch, dtype),
    )


def merging_of(method: str, keep: float, alpha: str) -> MergingMethod:
    """The merging method of the parameters; each takes those of them that it has."""
    if method == 'none':
        return METHODS['none']()
    settings = {'alpha': alpha} if method == 'tosa' else {}
    return METHODS[method](keep=keep, **settings)
