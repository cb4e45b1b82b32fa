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
        'levels', C = 72), or codes of surfaces (kind 'metric', C = 20, see `metric`). Rows of
        weight 0 are zeros.
    weight (B, T) float32: how many patches with depth a token stands for; 0 = it has none and
        takes no part in the spatial score.
    points (B, N, 3) float32: every patch's point in metres, NaN where unknown; or None.
    complete: whether every token has a place, known without looking at the weights.
    """

    kind: str
    features: Tensor
    weight: Tensor
    points: Tensor | None = None
    complete: bool = False

    def similarity(self, a: slice, b: slice) -> tuple[Tensor, Tensor | None]:
        """Similarity of tokens a to tokens b (B, Ta, Tb) float32, and where both are known.

        It is 0 where not. None for the second says everywhere.

        levels: cosine of the codes. metric: whether they lie on one surface (see `metric`).
        """
        p, q = self.features[:, a], self.features[:, b]
        if self.kind == 'metric':
            half = p.shape[2] // 2
            far = torch.bmm(p.narrow(2, 0, half), q.narrow(2, half, half).mT)
            far = torch.baddbmm(far, p.narrow(2, half, half), q.narrow(2, 0, half).mT)
            # At least 1, or 0 where one is unknown, but for rounding.
            known = None if self.complete else far > 0.5
            near = far.clamp_(min=1).reciprocal_()
            return (near, None) if known is None else (near.mul_(known), known)
        near = torch.bmm(F.normalize(p, dim=-1), F.normalize(q, dim=-1).mT)
        near = near.round_(decimals=LEVEL_DECIMALS)
        if self.complete:
            return near, None
        return near, (self.weight[:, a, None] > 0) & (self.weight[:, None, b] > 0)

    def with_tokens(self, features: Tensor, weight: Tensor) -> SpatialTokens:
        """The same kind of tokens after a merge."""
        return replace(self, features=features, weight=weight)

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
        complete=all(t.complete for t in tokens),
    )
