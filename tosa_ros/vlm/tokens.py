"""VisualTokens: what a vision encoder makes of one frame and a language answerer reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True, eq=False)
class VisualTokens:
    """One frame's T' tokens, in raster order.

    embeddings (T', D): in the language model's embedding space.
    size (T',) float32: patches each token stands for.
    source (N,) int64: the token each patch went to; -1 where it was pruned.
    uv (T', 2) float32: mean pixel of a token's patches in the colour image.
    rgb (T', 3) uint8: mean colour of its patches.
    xyz (T', 3) float32: mean point in the camera's optical frame, metres; NaN where unknown.
    before: N, tokens there would be without merging.
    spatial: what merging knew of space: 'metric', 'levels' or 'none'.
    stamp: the frame's, seconds.
    """

    embeddings: Tensor
    size: np.ndarray
    source: np.ndarray
    uv: np.ndarray
    rgb: np.ndarray
    xyz: np.ndarray
    before: int
    spatial: str
    stamp: float

    def __len__(self) -> int:
        return self.embeddings.shape[0]

    def middle_patches(self) -> list[int]:
        """For each token, the middle one of its patches in raster order; T' numbers in 0..N-1.

        Without a source (points cut out of a message) tokens count as spread evenly.
        """
        count = len(self)
        patches = np.argsort(self.source, kind='stable')
        size = np.bincount(self.source[self.source >= 0], minlength=count)
        if len(size) != count or not size.all():
            return np.linspace(0, self.before - 1, count).round().astype(int).tolist()
        start = (self.source < 0).sum() + np.cumsum(size) - size
        return patches[start + (size - 1) // 2].tolist()
