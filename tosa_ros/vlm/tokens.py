"""VisualTokens: what a vision encoder makes of one frame and a language answerer reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from tosa_ros.frames import DOUBTS_IN_WORDS, NO_DOUBT, DepthDoubt


@dataclass(frozen=True, eq=False)
class VisualTokens:
    """One frame's T' tokens, in raster order.

    embeddings (T', D): in the language model's embedding space; a model that reads features of
        several depths has them side by side.
    size (T',) float32: patches each token stands for.
    source (N,) int64: the token each patch went to; -1 where it was pruned.
    uv (T', 2) float32: mean pixel of a token's patches in the colour image.
    rgb (T', 3) uint8: mean colour of its patches.
    xyz (T', 3) float32: mean point in the camera's optical frame, metres; NaN where unknown.
    before: N, tokens there would be without merging. columns: of the grid that those form.
    spatial: what merging knew of space: 'metric', 'levels' or 'none'.
    stamp: the frame's, seconds.
    doubts: what is not known for sure of the frame's depth.
    """

    embeddings: Tensor
    size: np.ndarray
    source: np.ndarray
    uv: np.ndarray
    rgb: np.ndarray
    xyz: np.ndarray
    before: int
    columns: int
    spatial: str
    stamp: float
    doubts: DepthDoubt = NO_DOUBT

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


def note_of(tokens: Sequence[VisualTokens]) -> str:
    """The limits of an answer about these frames, in one line; empty where there are none."""
    blind = sum(one.spatial == 'none' and len(one) < one.before for one in tokens)
    parts = []
    if blind:
        of = _of(blind, len(tokens))
        parts.append(f'no depth{of}: image tokens were merged by appearance alone')
    for doubt, words in DOUBTS_IN_WORDS.items():
        count = sum(bool(one.doubts & doubt) for one in tokens)
        if count:
            parts.append(f'{words}{_of(count, len(tokens))}')
    return '; '.join(parts)


def _of(count: int, total: int) -> str:
    return '' if total == 1 else f' in {count} of {total} frames'
