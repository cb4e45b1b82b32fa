"""Padded batches: images of unlike numbers of patches in one tensor, as SigLIP 2 NaFlex's.

Attention and MLP run for all at once; each image merges by itself, by its own plan, as it would
alone. Padding has size 0: nothing attends to it, and it never merges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tosa_ros.errors import VisionError
from tosa_ros.merging import MergeState, MergingMethod, merge_layer
from tosa_ros.spatial import SpatialTokens


def can_measure(mask: Any) -> bool:
    """Whether `lengths_of` can read the mask."""
    return isinstance(mask, Tensor) and mask.ndim == 4 and not torch.compiler.is_compiling()


def lengths_of(mask: Any) -> list[int] | None:
    """Real tokens of each image, by the mask (B, 1, T, T) that layers get; None: no padding.

    mask: True where attention may look, or a number below 0 where it may not.
    Raises VisionError where padding is not behind all of an image's tokens.
    """
    if torch.compiler.is_compiling():
        raise VisionError(
            'attention_mask: padded images cannot be merged under torch.compile; give images of '
            'one shape, and no mask'
        )
    if not can_measure(mask):
        raise VisionError(
            f'attention_mask: a {type(mask).__name__}; wanted one number a pair of tokens: load '
            "the encoder with attn_implementation='sdpa'"
        )
    real = mask[:, 0, 0] if mask.dtype == torch.bool else mask[:, 0, 0] >= 0
    count = real.sum(dim=1)
    if not torch.equal(real, torch.arange(real.shape[1], device=real.device) < count[:, None]):
        raise VisionError('attention_mask: padding stands before patches; wanted it behind them')
    return None if bool(real.all()) else count.tolist()


@dataclass(frozen=True)
class PaddedState:
    """A MergeState for each image, and the width T of the tensor that holds all their tokens.

    It answers as one MergeState of B images does, with padding: size 0, source -1, no point.
    """

    images: tuple[MergeState, ...]
    width: int
    patches: int
    protected: int

    @classmethod
    def start(
        cls,
        x: Tensor,
        lengths: Sequence[int],
        protected: int,
        spatial: SpatialTokens | None,
        match: bool,
    ) -> PaddedState:
        """Before any merge of tokens x (B, T, D), of which each image has so many real ones."""
        images = []
        for image, length in enumerate(lengths):
            places = None if spatial is None else spatial.of(image, length - protected)
            one = x[image : image + 1, :length]
            images.append(MergeState.start(one, protected, places, match))
        return cls(tuple(images), x.shape[1], x.shape[1] - protected, protected)

    def merge(
        self, method: MergingMethod, x: Tensor, keys: Tensor, remove: Sequence[int], **layer: int
    ) -> tuple[Tensor, PaddedState]:
        """`merge_layer` of each image, which removes so many of its tokens."""
        done = [
            merge_layer(method, one, key, state, remove=r, **layer)
            for one, key, state, r in zip(
                self._parts(x), self._parts(keys), self.images, remove, strict=True
            )
        ]
        return self._joined(done)

    def in_raster_order(self, x: Tensor) -> tuple[Tensor, PaddedState]:
        """As MergeState's, image by image."""
        done = [s.in_raster_order(one) for one, s in zip(self._parts(x), self.images, strict=True)]
        return self._joined(done)

    def bias(self, dtype: torch.dtype, proportional: bool = True) -> Tensor:
        """log(size) for the key columns, or 0, and -inf for padding: (B, 1, 1, T)."""
        rows = [state.bias(dtype).flatten() for state in self.images]
        rows = rows if proportional else [torch.zeros_like(row) for row in rows]
        return self._padded(rows, self.width, float('-inf'))[:, None, None]

    @property
    def size(self) -> Tensor:
        return self._padded([state.size[0] for state in self.images], self.width, 0)

    @property
    def source(self) -> Tensor:
        return self._padded([state.source[0] for state in self.images], self.patches, -1)

    @property
    def home(self) -> Tensor:
        homes = [state.home[0] for state in self.images]
        return self._padded(homes, self.patches, self.protected)

    @property
    def middle(self) -> Tensor:
        middles = [state.middle[0] for state in self.images]
        return self._padded(middles, self.width - self.protected, 0)

    @property
    def xyz(self) -> Tensor | None:
        points = [state.xyz for state in self.images]
        if any(point is None for point in points):
            return None
        wide = self.width - self.protected
        return torch.stack([_pad(point[0], wide, float('nan')) for point in points])

    def _parts(self, x: Tensor) -> list[Tensor]:
        """The real rows of each image's (1, T, ...)."""
        lengths = [state.size.shape[1] for state in self.images]
        return [x[i : i + 1, :length] for i, length in enumerate(lengths)]

    def _joined(self, done: list[tuple[Tensor, MergeState]]) -> tuple[Tensor, PaddedState]:
        width = max(one.shape[1] for one, _ in done)
        x = torch.stack([_pad(one[0], width, 0) for one, _ in done])
        return x, replace(self, images=tuple(state for _, state in done), width=width)

    def _padded(self, rows: list[Tensor], width: int, fill: float) -> Tensor:
        return torch.stack([_pad(row, width, fill) for row in rows])


def _pad(rows: Tensor, width: int, fill: float) -> Tensor:
    """(T, ...) -> (width, ...)."""
    behind = (0, 0) * (rows.ndim - 1) + (0, width - len(rows))
    return F.pad(rows, behind, value=fill)
