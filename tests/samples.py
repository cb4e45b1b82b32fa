"""What tests of several parts look at: a small tower's dimensions, and frames of noise."""

from __future__ import annotations

import numpy as np

from tosa_ros import Frame, Intrinsics

# 6 x 6 patches, 4 layers.
SMALL = {
    'hidden_size': 48,
    'intermediate_size': 64,
    'num_hidden_layers': 4,
    'num_attention_heads': 4,
    'image_size': 48,
    'patch_size': 8,
}


def frame(seed: int = 0, depth: bool = True) -> Frame:
    """80 x 60 pixels, 1 to 3 metres away."""
    rng = np.random.default_rng(seed)
    return Frame(
        rng.integers(0, 256, (60, 80, 3), dtype=np.uint8),
        depth_m=rng.uniform(1, 3, (60, 80)).astype(np.float32) if depth else None,
        intrinsics=Intrinsics(60, 60, 40, 30, 80, 60),
    )
