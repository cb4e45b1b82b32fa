"""Patches as surfaces for the slow reference: a point and a normal each."""

from __future__ import annotations

from tosa_ros.spatial import metric_tokens
from tosa_ros.spatial.surfaces import patch_normals


def surfaces(depth_m, camera, grid):
    """[x, y, z, normal] of each patch, None where it has no depth."""
    points = metric_tokens(depth_m, camera, grid).points[0]
    normals = patch_normals(depth_m, camera, grid, points)
    known = points.isfinite().all(dim=1).tolist()
    rows = zip(points.tolist(), normals.tolist(), known, strict=True)
    return [[*point, *normal] if k else None for point, normal, k in rows]
