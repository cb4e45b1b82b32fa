"""VisualTokens: what a vision encoder makes of one frame and a language answerer reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby, pairwise

import numpy as np
from torch import Tensor

from tosa_ros.frames import DOUBTS_IN_WORDS, NO_DOUBT, DepthDoubt

# Rows and columns of tokens.
Grid = tuple[int, int]


@dataclass(frozen=True, eq=False)
class VisualTokens:
    """One frame's T' tokens, in raster order; of a frame in tiles, one grid behind the other.

    embeddings (T', D): in the language model's embedding space; a model that reads features of
        several depths has them side by side.
    size (T',) float32: patches each token stands for.
    source (N,) int64: the token each patch went to; -1 where it was pruned.
    uv (T', 2) float32: mean pixel of a token's patches in the colour image.
    rgb (T', 3) uint8: mean colour of its patches.
    xyz (T', 3) float32: mean point in the camera's optical frame, metres; NaN where unknown.
    grids: rows and columns of the N tokens that there would be without merging; more than one
        where a frame was cut into tiles. across: how many of the grids lie side by side.
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
    grids: tuple[Grid, ...]
    spatial: str
    stamp: float
    doubts: DepthDoubt = NO_DOUBT
    across: int = 1

    def __len__(self) -> int:
        return self.embeddings.shape[0]

    @property
    def before(self) -> int:
        """N, tokens there would be without merging."""
        return sum(rows * columns for rows, columns in self.grids)

    @property
    def columns(self) -> int:
        """Columns of the first grid."""
        return self.grids[0][1]

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

    def parts(self) -> list[VisualTokens]:
        """The tokens of each grid by themselves."""
        if len(self.grids) == 1:
            return [self]
        middle = np.array(self.middle_patches())
        ends = accumulate((rows * columns for rows, columns in self.grids), initial=0)
        return [
            self._part((middle >= start) & (middle < end), start, end, grid)
            for grid, (start, end) in zip(self.grids, pairwise(ends), strict=True)
        ]

    def _part(self, own: np.ndarray, start: int, end: int, grid: Grid) -> VisualTokens:
        number = np.where(own, np.cumsum(own) - 1, -1)
        source = self.source[start:end]
        return replace(
            self,
            embeddings=self.embeddings[own.nonzero()[0]],
            size=self.size[own],
            source=np.where(source < 0, -1, number[source]),
            uv=self.uv[own],
            rgb=self.rgb[own],
            xyz=self.xyz[own],
            grids=(grid,),
            across=1,
        )

    def lines(self) -> dict[int, list[tuple[int, int]]]:
        """By row: column of the middle patch, and number, of each token, from the left."""
        places = sorted(
            (*divmod(patch, self.columns), token)
            for token, patch in enumerate(self.middle_patches())
        )
        lines = groupby(places, key=lambda place: place[0])
        return {row: [(column, token) for _, column, token in line] for row, line in lines}


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
