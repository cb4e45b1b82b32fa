"""merge_output: tokens merged where they leave the vision part, in front of the language model.

By the same methods and the same spatial tokens as in an encoder's layers. It saves no vision time,
but any model will do: nothing behind the tokens asks what grid they came from.
"""

from __future__ import annotations

from torch import Tensor

from tosa_ros.errors import VisionError
from tosa_ros.merging import MergeState, MergingMethod, merge_layer
from tosa_ros.spatial import SpatialTokens
from tosa_ros.vision.encoder import MergedTokens

# Many small merges keep more than one large one (docs/models.md has figures). What methods say of
# layers holds for these steps.
OUTPUT_STEPS = 12


def merge_output(
    method: MergingMethod,
    tokens: Tensor,
    spatial: SpatialTokens | None = None,
    *,
    keys: int | None = None,
) -> MergedTokens:
    """Merges tokens (B, N, D) by their likeness, in OUTPUT_STEPS steps; round(keep * N) are left.

    spatial: of the same images, on the grid of these tokens. keys: how many of the D channels,
    from the first, are compared; by default all.
    Tokens that are not merged stay the same bit for bit.
    """
    batch, count = tokens.shape[:2]
    if spatial is not None and tuple(spatial.weight.shape) != (batch, count):
        raise VisionError(
            f'spatial tokens for {spatial.weight.shape[0]} images of {spatial.weight.shape[1]} '
            f'tokens, but there are {batch} images of {count}; make them on the grid of the tokens'
        )
    state = MergeState.start(tokens, 0, spatial, method.spatial_aware)
    plan = method.removals(count, OUTPUT_STEPS)
    # Means of means of bfloat16 would lose what they average.
    x = tokens.float() if any(plan) else tokens
    for step, remove in enumerate(plan):
        if remove:
            likeness = x[..., :keys].unsqueeze(2)
            x, state = merge_layer(
                method, x, likeness, state, remove=remove, layer=step, layers=OUTPUT_STEPS
            )
    if any(plan):
        x, state = state.in_raster_order(x)
    return MergedTokens(
        tokens=x.to(tokens.dtype),
        class_tokens=tokens[:, :0],
        size=state.size,
        source=state.source,
        xyz=state.xyz,
        nearest=state.home,
    )
