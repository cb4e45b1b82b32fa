"""Depth of another size than colour, but of the same view, as phones write it."""

from __future__ import annotations

import numpy as np

from tosa_ros.errors import DepthError

ASPECT_TOLERANCE = 0.01


def same_aspect(width: int, height: int, other_width: int, other_height: int) -> bool:
    """Whether images of these sizes can be of the same view."""
    return abs(width * other_height / (height * other_width) - 1) <= ASPECT_TOLERANCE


def fitted(depth: np.ndarray, width: int, height: int) -> np.ndarray:
    """Depth (h, w) of the same view -> (height, width), without blending pixels.

    Raises:
        DepthError: depth that cannot be of the same view.
    """
    rows, cols = depth.shape
    if (cols, rows) == (width, height):
        return depth
    if not same_aspect(cols, rows, width, height):
        raise DepthError(f'{cols}x{rows} pixels for a {width}x{height} image')
    down = (np.arange(height) + 0.5) * rows // height
    across = (np.arange(width) + 0.5) * cols // width
    return depth[down.astype(np.int64)][:, across.astype(np.int64)]
