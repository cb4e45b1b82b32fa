"""What the parameters that name models, devices and merging methods stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tosa_ros import assets
from tosa_ros.assets import embedded_model
from tosa_ros.depth import MonocularDepth
from tosa_ros.merging import METHODS, MergingMethod

EMBEDDED_DEPTH = Path(assets.__file__).parent / 'tiny-depth-metric'


def load_half(half: Any, node: Any) -> Any:
    """VisionEncoder or Answerer, of the node's parameters model, device and dtype.

    Raises:
        ModelError: there is no such model or device.
    """
    model, dtype = node.value('model'), node.value('dtype')
    if not model:
        _say_embedded(node, 'model')
    return half.from_pretrained(
        model or embedded_model(),
        device=node.value('device'),
        dtype=None if dtype == 'auto' else getattr(torch, dtype),
    )


def load_estimator(node: Any) -> MonocularDepth:
    """The depth estimator of the node's parameters depth_model and device.

    Raises:
        DepthError, ModelError: there is no such model or device.
    """
    model = node.value('depth_model')
    if not model:
        _say_embedded(node, 'depth_model')
        model = EMBEDDED_DEPTH
    return MonocularDepth.from_pretrained(model, device=node.value('device'))


def _say_embedded(node: Any, parameter: str) -> None:
    node.get_logger().info(f'{parameter} is empty: the embedded one, for the tiny world only')


def merging_of(method: str, keep: float, alpha: str, merge_at: str) -> MergingMethod:
    """The merging method of the parameters; each takes those of them that it has."""
    if method == 'none':
        return METHODS['none']()
    settings = {'alpha': alpha} if method == 'tosa' else {}
    return METHODS[method](keep=keep, merge_at=merge_at, **settings)
