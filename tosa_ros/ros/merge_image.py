"""The picture of a merge: every token in one colour, its outline drawn; ROS-free."""

from __future__ import annotations

import numpy as np

from tosa_ros.spatial import PatchGrid
from tosa_ros.vlm.tokens import VisualTokens

OUTLINE = np.array([255, 255, 255], np.uint8)


def merge_image(rgb: np.ndarray, tokens: VisualTokens, grid: PatchGrid) -> np.ndarray:
    """The image (H, W, 3) uint8 with each token's patches in the token's mean colour.

    Pruned patches are black; what the encoder does not see is as the camera saw it, darker.
    grid: the patches that `tokens.source` speaks of, over this image.
    """
    rows = _patch_of_pixel(grid.top, grid.bottom, grid.rows, grid.height)
    cols = _patch_of_pixel(grid.left, grid.right, grid.cols, grid.width)
    # One more token, of no patch, for pruned patches: index -1 finds it.
    colours = np.vstack([tokens.rgb, np.zeros((1, 3), np.uint8)])
    token = tokens.source.reshape(grid.rows, grid.cols)[rows][:, cols]
    picture = colours[token]
    edge = np.zeros(token.shape, bool)
    edge[:, 1:] |= token[:, 1:] != token[:, :-1]
    edge[1:] |= token[1:] != token[:-1]
    picture[edge] = OUTLINE
    unseen = (rows < 0)[:, None] | (cols < 0)[None]
    picture[unseen] = rgb[unseen] // 2
    return picture


def _patch_of_pixel(low: float, high: float, count: int, pixels: int) -> np.ndarray:
    """(pixels,) the patch row or column at each pixel's centre, -1 outside of the grid."""
    patch = np.floor((np.arange(pixels) + 0.5 - low) / (high - low) * count).astype(np.int64)
    return np.where((patch >= 0) & (patch < count), patch, -1)
