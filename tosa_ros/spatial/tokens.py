"""SpatialTokens: where each token is, and how near two tokens are. What ToSA matches with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from tosa_ros.errors import SpatialError

# Distance along a surface, as a share of the same distance off it: what lies on one plane is alike
# over metres, and yet nearer is more alike.
ALONG = 0.05
LENGTH_SCALE_M = 0.15


@dataclass(frozen=True)
class SpatialTokens:
    """Spatial tokens of B images.

    features (B, T, C) float32: sinusoidal codes (kind 'levels', C = 72), or points in metres and
        the normals of their surfaces (kind 'metric', C = 6). Rows of weight 0 are zeros.
    weight (B, T) float32: how many patches with depth a token stands for; 0 = it has none and
        takes no part in the spatial score.
    points (B, N, 3) float32: every patch's point in metres, NaN where unknown; or None.
    length_scale_m: of the metric kernel.
    complete: whether every token has a place, known without looking at the weights.
    """

    kind: str
    features: Tensor
    weight: Tensor
    points: Tensor | None = None
    length_scale_m: float = LENGTH_SCALE_M
    complete: bool = False

    def similarity(self, a: slice, b: slice) -> tuple[Tensor, Tensor | None]:
        """Similarity of tokens a to tokens b (B, Ta, Tb) float32, and where both are known.

        None for the second says everywhere.

        levels: cosine of the codes. metric: 1 / (1 + (d / length_scale_m)^2) with d^2 the square
        of the larger distance of one token from the other's plane, plus that of ALONG times the
        distance between them.
        """
        known = None
        if not self.complete:
            known = (self.weight[:, a, None] > 0) & (self.weight[:, None, b] > 0)
        if self.kind == 'metric':
            return self._same_surface(a, b), known
        p, q = self.features[:, a], self.features[:, b]
        p = F.normalize(p, dim=-1)
        q = F.normalize(q, dim=-1)
        return p @ q.transpose(1, 2), known

    def _same_surface(self, a: slice, b: slice) -> Tensor:
        points = self.features.narrow(2, 0, 3) / self.length_scale_m
        normals = F.normalize(self.features.narrow(2, 3, 3), dim=-1)
        # Offsets from planes as n . q - n . p: exact to micrometres at ten metres.
        places = F.pad(points, (0, 1), value=1.0)
        planes = torch.cat([normals, (normals * points).sum(-1, keepdim=True).neg_()], dim=-1)
        off = torch.maximum(
            torch.bmm(planes[:, a], places[:, b].mT).square_(),
            torch.bmm(places[:, a], planes[:, b].mT).square_(),
        )
        # This form of the distance loses centimetres there; it counts a twentieth.
        square = points.square().sum(-1, keepdim=True)
        apart = torch.baddbmm(
            square[:, a] + square[:, b].mT, points[:, a], points[:, b].mT, alpha=-2
        )
        return off.add_(apart, alpha=ALONG**2).add_(1).reciprocal_()

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
