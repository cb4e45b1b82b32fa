"""Metric spatial tokens: which surface a token lies on, from points in metres and their normals.

Two patches are alike when they lie on one surface: a floor, a wall, the same side of a box. With
d and d' the distances of either's centre from the other's plane, and s the length scale in
metres, their similarity is 1 - log(1 + (d^2 + d'^2 + (ALONG e)^2) / s^2), where e is how far apart
they are: nearer is a little more alike. For merged tokens the bracket's squares are means over all
pairs of patches, one of either token. It is 1 on one surface and has no least value: every step
away from a surface counts, the farther ones less.

The squares are bilinear in second-degree monomials of a plane and of a point, ten of either. So
a patch has a code of monomials, a token the mean of its patches' codes, and one product gives the
squares of all pairs, exactly those means. A code is its plane's monomials, its point's, and
its plane's again: read from the front on one side of the product and from the middle on the other,
planes meet points and points meet planes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tosa_ros.spatial.patches import MIN_VALID, PatchGrid, backproject, pool_depth
from tosa_ros.spatial.surfaces import patch_surfaces
from tosa_ros.spatial.tokens import SpatialTokens

LENGTH_SCALE_M = 0.15
# Distance along a surface, as a share of the same distance off it: what lies on one plane is alike
# over metres, and yet nearer is more alike.
ALONG = 0.05
# Monomials of (x, y, z, 1): the pairs whose product they are, and how often each occurs.
FIRST, SECOND = [0, 1, 2, 0, 0, 1, 0, 1, 2, 3], [0, 1, 2, 1, 2, 2, 3, 3, 3, 3]
TIMES = [1.0 if i == j else 2.0 for i, j in zip(FIRST, SECOND, strict=True)]


def metric_tokens(
    depth_m: Tensor,
    camera: Tensor,
    grid: PatchGrid,
    *,
    length_scale_m: float = LENGTH_SCALE_M,
    min_valid: float = MIN_VALID,
) -> SpatialTokens:
    """Depth (H, W) in metres, NaN where unknown; camera (4,) = fx, fy, cx, cy in pixels."""
    return surface_tokens(*patch_surfaces(depth_m, camera, grid, min_valid), length_scale_m)


def surface_tokens(
    points: Tensor, normals: Tensor, length_scale_m: float = LENGTH_SCALE_M
) -> SpatialTokens:
    """Points and unit normals (N, 3) of one image's patches, metres, NaN where unknown."""
    known = points[:, 2].isfinite()
    codes = surface_codes(points, normals, length_scale_m).masked_fill(~known[:, None], 0.0)
    return SpatialTokens('metric', codes[None], known.float()[None], points[None])


def patch_points(
    depth_m: Tensor, camera: Tensor, grid: PatchGrid, *, min_valid: float = MIN_VALID
) -> Tensor:
    """Each patch's point in metres, (N, 3) float32, NaN where unknown."""
    mean = pool_depth(depth_m.float(), grid, min_valid)
    return backproject(mean, grid.centres, camera.float())


def surface_codes(points: Tensor, normals: Tensor, length_scale_m: float) -> Tensor:
    """(N, 30) float32: plane, point, plane. points (N, 3) metres, normals (N, 3)."""
    # Around their middle, numbers are small: float32 is enough.
    points = (points - points.nanmean(dim=0)) / length_scale_m
    offset = -(normals * points).sum(dim=-1, keepdim=True)
    both = torch.cat([normals, offset, points, torch.ones_like(offset)], dim=-1)
    return (both.index_select(1, _FIRST) * both.index_select(1, _SECOND)) @ _CODES


def _codes() -> Tensor:
    """(20, 30): from the monomials of a plane and those of a point to a patch's code."""
    plane, point = torch.eye(20).split(10)
    plane = plane * torch.tensor(TIMES)[:, None]
    # Half of (ALONG e)^2 with either side of a pair: for |p - p'|^2, 1 of the other one's squares,
    # -2 p of its coordinates and |p|^2 of its 1.
    x2, y2, z2, _, _, _, x, y, z, one = point
    zero = torch.zeros(20)
    along = torch.stack([one, one, one, zero, zero, zero, -2 * x, -2 * y, -2 * z, x2 + y2 + z2])
    plane = plane + along * (ALONG**2 / 2)
    return torch.cat([plane, point, plane]).T.contiguous()


_FIRST, _SECOND = (torch.tensor(part + [4 + i for i in part]) for part in (FIRST, SECOND))
_CODES = _codes()
