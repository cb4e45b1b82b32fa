"""Metric spatial tokens: which surface a token lies on, from points in metres and their normals.

Two patches are alike when they lie on one surface: a floor, a wall, the same side of a box. With
d and d' the distances of either's centre from the other's plane, and s the length scale in
metres, their similarity is 1 - log(1 + (d^2 + d'^2 + (ALONG e)^2) / s^2), where e is how far apart
they are: nearer is a little more alike. For merged tokens the bracket's squares are means over all
pairs of patches, one of either token. It is 1 on one surface and has no least value: every step
away from a surface counts, the farther ones less.

The squares are bilinear in second-degree monomials of a plane and of a point, ten of either. So
a patch has a code of monomials, a token the mean of its patches' codes, and one product gives the
denominators of all pairs, exactly those means. A code is its plane's monomials, its point's, and
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
    points, normals = patch_surfaces(depth_m, camera, grid, min_valid)
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
    place = torch.cat([points, torch.ones_like(points[:, :1])], dim=-1)
    plane = torch.cat([normals, -(normals * points).sum(dim=-1, keepdim=True)], dim=-1)
    times = points.new_tensor(TIMES)
    off = plane[:, FIRST] * plane[:, SECOND] * times
    # Half of the distance along and half of the 1 with either side of a pair.
    ones = torch.ones_like(points)
    square = points.square().sum(dim=-1, keepdim=True)
    along = torch.cat([ones, 0 * ones, -2 * points, square], dim=-1) * ALONG**2
    along[:, -1] += 1
    plane = off + along / 2
    return torch.cat([plane, place[:, FIRST] * place[:, SECOND], plane], dim=-1)
