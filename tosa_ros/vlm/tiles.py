"""Tiling: a frame cut into tiles for the tower, and the tokens that a model reads of them.

A frame seen whole is one tile. Of several, each has its own patch grid over the frame, so that
depth is read exactly where that tile looks; the order of the tokens is the model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tosa_ros.spatial import PatchGrid, SpatialTokens, pool_colour
from tosa_ros.vision import MergedTokens
from tosa_ros.vlm.tokens import Grid

NOT_READ = -2  # of a patch in a tile's padding


@dataclass(frozen=True, eq=False)
class Tiling:
    """One frame's tiles, and the N tokens that a model reads of it without merging.

    tiles: each tile's patch grid over the frame, all of one shape of P patches.
    grids: rows and columns of the N tokens, one grid behind the other; a grid is one tile or is
        put together of several. Tokens of different grids do not merge.
    order (N,) int64: the patch behind each token, all tiles' patches counted through; None: all
        of them, as they come.
    across: how many of the grids lie side by side.
    scaled (rows, columns) int64: the patches of the last grid where the model brings their
        embeddings down to fewer; `order` has the nearest one of each.
    """

    tiles: tuple[PatchGrid, ...]
    grids: tuple[Grid, ...]
    order: Tensor | None = None
    across: int = 1
    scaled: Tensor | None = None

    @classmethod
    def one_by_one(cls, tiles: Sequence[PatchGrid], across: int = 1) -> Tiling:
        """Tiles whose tokens are read one tile behind the other."""
        return cls(tuple(tiles), tuple((t.rows, t.cols) for t in tiles), across=across)

    @property
    def spans(self) -> list[slice]:
        """Where each grid's tokens are among the N."""
        ends = accumulate((rows * columns for rows, columns in self.grids), initial=0)
        return [slice(start, end) for start, end in pairwise(ends)]

    @cached_property
    def centres(self) -> Tensor:
        """(N, 2): pixel (u, v) in the frame of each token's patch."""
        return self._read(torch.cat([tile.centres for tile in self.tiles]))

    @cached_property
    def area(self) -> Tensor:
        """(N,): square pixels of each token's patch that lie in the frame."""
        return self._read(torch.cat([tile.area for tile in self.tiles]))

    def colour(self, rgb: Tensor) -> Tensor:
        """(N, 3): sum over each token's patch of (H, W, 3) uint8."""
        return self._read(torch.cat([pool_colour(rgb, tile) for tile in self.tiles]))

    def spatial(self, tokens: SpatialTokens) -> list[SpatialTokens]:
        """The spatial tokens of each grid, of those of the tiles."""
        rows = [self._read(x.flatten(0, 1)) for x in (tokens.features, tokens.weight)]
        points = None if tokens.points is None else self._read(tokens.points.flatten(0, 1))
        return [
            replace(
                tokens,
                features=rows[0][None, span],
                weight=rows[1][None, span],
                points=None if points is None else points[None, span],
            )
            for span in self.spans
        ]

    def dense(self, embeddings: Tensor) -> Tensor:
        """(tiles, P, D) of the tiles without merging -> (N, D), as the model reads them."""
        flat = embeddings.flatten(0, 1)
        tokens = self._read(flat)
        if self.scaled is None:
            return tokens
        span, size = self.spans[-1], self.grids[-1]
        fine = flat[self.scaled.to(flat.device)].permute(2, 0, 1)
        fine = F.interpolate(fine[None], list(size), mode='bilinear')[0].flatten(1).T
        return torch.cat([tokens[: span.start], fine])

    def gathered(self, merged: MergedTokens) -> MergedTokens:
        """Tokens that merged in each tile -> the frame's (1, T', D), grid by grid.

        Tokens of padding alone are left out: so is a pruned patch's `nearest` that was one (-1).
        """
        count = merged.tokens.shape[1]
        first = count * torch.arange(len(self.tiles))[:, None]
        flat = [x.cpu() + first for x in (merged.source, merged.nearest)]
        source, nearest = (self._read(x.flatten()) for x in flat)
        pruned = self._read(merged.source.cpu().flatten()) < 0
        left = list(dict.fromkeys(source[~pruned].tolist()))
        number = torch.full((count * len(self.tiles),), -1)
        number[left] = torch.arange(len(left))
        source = number[source].masked_fill(pruned, -1)
        tokens = merged.tokens.flatten(0, 1)[left]
        if self.scaled is not None:
            tokens = self._scaled_tokens(merged, source, tokens)
        xyz = None if merged.xyz is None else merged.xyz.flatten(0, 1)[None, left]
        return MergedTokens(
            tokens=tokens[None],
            class_tokens=merged.class_tokens.flatten(0, 1)[None],
            size=torch.bincount(source[~pruned], minlength=len(left)).float()[None],
            source=source[None],
            xyz=xyz,
            nearest=number[nearest][None],
        )

    def _scaled_tokens(self, merged: MergedTokens, source: Tensor, tokens: Tensor) -> Tensor:
        """Tokens of the last grid are means of what the model makes of their patches."""
        dense = self.dense(merged.unmerge(fill='nearest'))
        known = source >= 0
        index = source[known].to(dense.device)
        mean = torch.zeros_like(tokens, dtype=torch.float32)
        mean.index_add_(0, index, dense[known.to(dense.device)].float())
        mean = (mean / torch.bincount(index, minlength=len(tokens))[:, None]).to(tokens.dtype)
        start = self.spans[-1].start
        fine = torch.zeros(len(tokens), dtype=torch.bool)
        fine[source[start:][known[start:]]] = True
        return torch.where(fine[:, None].to(mean.device), mean, tokens)

    def by_tile(self, source: np.ndarray) -> np.ndarray:
        """source (N,) of the tokens' patches -> (tiles * P,) of the tiles', else NOT_READ."""
        if self.order is None:
            return source
        seen = np.full(sum(tile.patches for tile in self.tiles), NOT_READ, source.dtype)
        seen[self.order.numpy()] = source
        return seen

    def _read(self, rows: Tensor) -> Tensor:
        return rows if self.order is None else rows[self.order.to(rows.device)]


class Tiles(Protocol):
    """A checkpoint's own way to cut images into tiles."""

    def pixels(self, rgb: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 -> (tiles, 3, S, S) float32."""
        ...

    def tiling(self, width: int, height: int) -> Tiling:
        """The tiles of a width x height image, in the same order."""
        ...


def joined(parts: Sequence[MergedTokens]) -> MergedTokens:
    """Merged tokens (1, T', D) of several grids as those of one frame."""
    first = [0, *accumulate(part.tokens.shape[1] for part in parts)]

    def counted(name: str) -> Tensor:
        rows = [getattr(part, name) for part in parts]
        moved = [x.where(x < 0, x + n) for x, n in zip(rows, first, strict=False)]
        return torch.cat(moved, dim=1)

    points = [part.xyz for part in parts]
    return MergedTokens(
        tokens=torch.cat([part.tokens for part in parts], dim=1),
        class_tokens=parts[0].class_tokens,
        size=torch.cat([part.size for part in parts], dim=1),
        source=counted('source'),
        xyz=None if points[0] is None else torch.cat(points, dim=1),
        nearest=counted('nearest'),
    )
