"""SpatialTokens: where each token is, and how near two tokens are. What ToSA matches with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from tosa_ros.errors import SpatialError

# Levels are a grid and tie all the time: rounded, so that no platform's last bit decides.
LEVEL_DECIMALS = 4


@dataclass(frozen=True)
class SpatialTokens:
    """Spatial tokens of B images.

    features (B, T, C) float32, a merged token's the mean of its patches': sinusoidal codes (kind
        'levels', C = 72), or codes of surfaces (kind 'metric', C = 30, see `metric`). Rows of
        weight 0 are zeros.
    weight (B, T) float32: how many patches with depth a token stands for; 0 = it has none and
        takes no part in the spatial score.
    points (B, N, 3) float32: every patch's point in metres, NaN where unknown; or None.
    """

    kind: str
    features: Tensor
    weight: Tensor
    points: Tensor | None = None

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        """Of tokens with features a (B, M, C) to others with b (B, K, C): (B, M, K) float32.

        Anything where one has no place. levels: cosine of the codes. metric: whether they lie on
        one surface (see `metric`).
        """
        if self.kind == 'metric':
            third = a.shape[2] // 3
            far = torch.bmm(a.narrow(2, 0, 2 * third), b.narrow(2, third, 2 * third).mT)
            # At least 0, but for rounding.
            return torch.rsub(far.clamp_(min=0).log1p_(), 1)
        near = torch.bmm(F.normalize(a, dim=-1), F.normalize(b, dim=-1).mT)
        return near.round_(decimals=LEVEL_DECIMALS)

    def with_tokens(self, features: Tensor, weight: Tensor) -> SpatialTokens:
        """The same kind of tokens after a merge."""
        return SpatialTokens(self.kind, features, weight, self.points)

    def of(self, image: int, patches: int) -> SpatialTokens:
        """Those of one image, as a batch of its own, without what is behind its patches."""
        only = (slice(image, image + 1), slice(patches))
        points = None if self.points is None else self.points[only]
        return replace(self, features=self.features[only], weight=self.weight[only], points=points)

    def padded(self, patches: int) -> SpatialTokens:
        """For an encoder that takes so many patches an image: those behind have no place."""
        more = (0, 0, 0, patches - self.weight.shape[1])
        points = None if self.points is None else F.pad(self.points, more, value=float('nan'))
        weight = F.pad(self.weight, more[2:])
        return replace(self, features=F.pad(self.features, more), weight=weight, points=points)

    def to(self, device: torch.device | str) -> SpatialTokens:
        return replace(
            self,
            features=self.features.to(device),
            weight=self.weight.to(device),
            points=None if self.points is None else self.points.to(device),
        )


def stack(tokens: list[SpatialTokens]) -> SpatialTokens:
    """Spatial tokens of several images of one kind and patch count as one batch."""
    kinds = {t.kind for t in tokens}
    if len(kinds) != 1:
        raise SpatialError(
            f'spatial tokens of kinds {sorted(kinds)} in one batch; wanted one kind'
        )
    points = None
    if any(t.points is not None for t in tokens):
        points = torch.cat(
            [
                torch.full((*t.weight.shape, 3), float('nan')) if t.points is None else t.points
                for t in tokens
            ]
        )
    return replace(
        tokens[0],
        features=torch.cat([t.features for t in tokens]),
        weight=torch.cat([t.weight for t in tokens]),
        points=points,
    )
