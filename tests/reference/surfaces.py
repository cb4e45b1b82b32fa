"""Patches as surfaces for the slow reference: a point and a normal each."""

from __future__ import annotations

from tosa_ros.spatial.surfaces import patch_surfaces


def surfaces(depth_m, camera, grid):
    """[x, y, z, normal] of each patch, None where it has no depth."""
    points, normals = patch_surfaces(depth_m, camera, grid)
    known = points.isfinite().all(dim=1).tolist()
    rows = zip(points.tolist(), normals.tolist(), known, strict=True)
    return [[*point, *normal] if k else None for point, normal, k in rows]
