"""Run: what one forward pass of a merged encoder carries from layer to layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from tosa_ros.errors import VisionError
from tosa_ros.merging import MergeState, MergingMethod
from tosa_ros.spatial import SpatialTokens
from tosa_ros.vision.padding import PaddedState


class Run:
    """The pass that goes on; each field is replaced, never changed.

    plan: tokens that each layer removes; in a padded batch, of each image, or None.
    next: the layer that is to run next. keys: what the layer's key projection gave.
    bias, middle: of the state, for layers behind a merge.
    """

    method: MergingMethod | None = None
    spatial: SpatialTokens | None = None
    state: MergeState | PaddedState | None = None
    keys: Tensor | None = None
    bias: Tensor | None = None
    middle: Tensor | None = None
    plan: Sequence[Any] = ()
    merges = False
    next = 0

    def receive(self, keys: Tensor) -> None:
        """Takes what a key projection gave."""
        if self.merges:
            self.keys = keys

    def check_turn(self, layer: int) -> None:
        """Raises VisionError if another layer is to run next."""
        if layer != self.next:
            raise VisionError(
                f'layer {layer} of an encoder that merges runs again, or by itself, without those '
                'before it; checkpoint gradients with use_reentrant=False'
            )

    @contextmanager
    def as_before(self, then: dict[str, Any]) -> Iterator[None]:
        """As the pass was at an earlier layer, which is computed again."""
        now, self.__dict__ = self.__dict__, dict(then)
        try:
            yield
        finally:
            self.__dict__ = now


class Passed:
    """How a run was when tokens went into a layer, for as long as these live.

    Gradient checkpointing computes a layer again, from the same tokens, in the backward pass.
    """

    def __init__(self) -> None:
        self._runs = WeakTensorKeyDictionary()

    def note(self, x: Tensor, run: Run) -> None:
        """x goes into a layer."""
        if torch.is_grad_enabled():
            self._runs[x] = dict(run.__dict__)

    def before(self, x: Tensor) -> dict[str, Any] | None:
        """How the run was, if a backward pass computes again what is made of x."""
        backward = torch.is_grad_enabled() and torch._C._current_graph_task_id() != -1
        return self._runs.get(x) if backward else None
