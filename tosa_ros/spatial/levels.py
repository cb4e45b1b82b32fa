"""Pseudo spatial tokens of the ToSA paper: row, column and relative-depth level, encoded.

Relative depth in 0..1 (1 nearest) is averaged over each patch and cut into 27 levels; a token
is the three 24-channel sinusoidal codes side by side: 72 channels (arXiv 2506.20066).
"""

from __future__ import annotations

import torch
from torch import Tensor

from tosa_ros.spatial.patches import MIN_VALID, PatchGrid, pool_depth
from tosa_ros.spatial.tokens import SpatialTokens

LEVELS = 27
CHANNELS = 24


def level_tokens(
    relative_depth: Tensor, grid: PatchGrid, *, min_valid: float = MIN_VALID
) -> SpatialTokens:
    """(H, W) float in 0..1, 1 nearest, NaN where unknown -> SpatialTokens of one image."""
    return levelled_tokens(pool_depth(relative_depth.float(), grid, min_valid), grid.cols)


def levelled_tokens(relative: Tensor, cols: int) -> SpatialTokens:
    """Relative depth (N,) of one image's patches, `cols` in a row, NaN where unknown."""
    known = relative.isfinite()
    levels = depth_levels(relative.nan_to_num(0.0))
    index = torch.arange(len(relative))
    codes = [index // cols, index % cols, levels]
    features = torch.cat([sinusoid(code) for code in codes], dim=-1)
    features = features.masked_fill(~known[:, None], 0.0)
    return SpatialTokens('levels', features[None], known.float()[None])


def depth_levels(mean: Tensor) -> Tensor:
    """Relative depth 0..1 -> level 0..26: floor of (0..255 scale) / (256 / 27)."""
    return (mean * 255 / (256 / LEVELS)).floor().clamp(0, LEVELS - 1).long()


def sinusoid(position: Tensor, channels: int = CHANNELS) -> Tensor:
    """Sinusoidal code: (N,) -> (N, channels): sines, then cosines, wavelengths 2 pi .. 10,000."""
    half = channels // 2
    frequency = 10000.0 ** (-torch.arange(half, dtype=torch.float32) / half)
    angle = position.float()[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def relative_from_metric(depth_m: Tensor) -> Tensor:
    """Relative depth as an estimator would give it: disparity 1/z scaled to 0..1, 1 nearest.

    (H, W) metres, NaN where unknown. A flat map gives 0.
    """
    disparity = depth_m.reciprocal()
    unknown = ~disparity.isfinite()
    low = disparity.masked_fill(unknown, float('inf')).amin()
    high = disparity.masked_fill(unknown, -float('inf')).amax()
    # Where nothing is known, low is above high, and all stays NaN.
    return disparity.sub_(low).div_((high - low).clamp(min=1e-12))
