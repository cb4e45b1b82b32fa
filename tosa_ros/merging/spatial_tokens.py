"""What the methods ask of spatial tokens, so that they know of no camera."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class SpatialTokens(Protocol):
    """Where the tokens of B images are; `tosa_ros.spatial` makes them.

    kind: by which measure they are near, such as 'metric'.
    features (B, T, C) float32, a merged token's the mean of its patches'.
    weight (B, T) float32: how many patches with a place a token stands for; 0: it has none.
    points (B, N, 3) float32: every patch's point in metres, NaN where unknown; or None.
    """

    @property
    def kind(self) -> str: ...

    @property
    def features(self) -> Tensor: ...

    @property
    def weight(self) -> Tensor: ...

    @property
    def points(self) -> Tensor | None: ...

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        """Of tokens with features a (B, M, C) to others with b (B, K, C): (B, M, K) float32.

        Anything where one has no place.
        """
        ...

    def with_tokens(self, features: Tensor, weight: Tensor) -> SpatialTokens:
        """The same kind of tokens after a merge."""
        ...
