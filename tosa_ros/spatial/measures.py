"""How well merged tokens respect depth: the figures that `tosa view --json` reports."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tosa_ros.spatial.patches import PatchGrid, pool_depth

DEPTH_EDGE_M = 0.10


def depth_spread(depth_m: Tensor, grids: Sequence[PatchGrid], source: Tensor) -> float:
    """Mean standard deviation of depth within a token, weighted by size, metres.

    depth_m (H, W), NaN where unknown; source (N,), of the grids' patches one behind the other,
    below 0 where a patch was pruned or not read. Depth is the mean of each patch; patches without
    depth, and pruned ones, do not count. NaN if none counts.
    """
    groups = _patch_depths(depth_m, grids, source)
    patches = sum(len(g) for g in groups)
    total = sum(len(g) * float(g.std(correction=0)) for g in groups)
    return total / patches if patches else float('nan')


def edge_straddle(
    depth_m: Tensor, grids: Sequence[PatchGrid], source: Tensor, edge_m: float = DEPTH_EDGE_M
) -> float:
    """Share of tokens that lie on both sides of a depth edge.

    A token does when the depths of its patches, in order, leave a gap of more than `edge_m`.
    Tokens without depth do not count. NaN if none counts.
    """
    groups = _patch_depths(depth_m, grids, source)
    gaps = [float(g.sort().values.diff().max()) if len(g) > 1 else 0.0 for g in groups]
    return sum(gap > edge_m for gap in gaps) / len(gaps) if gaps else float('nan')


def _patch_depths(depth_m: Tensor, grids: Sequence[PatchGrid], source: Tensor) -> list[Tensor]:
    depth = torch.cat([pool_depth(depth_m, grid) for grid in grids])
    counts = depth.isfinite() & (source >= 0)
    return [depth[counts & (source == token)] for token in source[counts].unique()]
