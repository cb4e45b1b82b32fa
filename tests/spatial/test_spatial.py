"""Spatial tokens against loops over pixels, and how they treat missing depth."""

from __future__ import annotations

import math

import pytest
import torch

from tosa_ros.errors import SpatialError
from tosa_ros.spatial import (
    PatchGrid,
    SpatialTokens,
    level_tokens,
    metric_tokens,
    pool,
    pool_colour,
    pool_depth,
    relative_from_metric,
    stack,
)
from tosa_ros.spatial.metric import surface_codes
from tosa_ros.spatial.surfaces import patch_surfaces

NAN = float('nan')
CAMERA = torch.tensor([30.0, 32.0, 14.5, 9.5])


def similarity(tokens, a=slice(None), b=slice(None)):
    return tokens.similarity(tokens.features[:, a], tokens.features[:, b])


def overlap(a0, a1, b0, b1):
    return max(0.0, min(a1, b1) - max(a0, b0))


def slow_pool_depth(depth, grid, min_valid):
    """Mean by area over each patch's valid pixels, by four loops."""
    means = []
    h, w = (grid.bottom - grid.top) / grid.rows, (grid.right - grid.left) / grid.cols
    for r in range(grid.rows):
        for c in range(grid.cols):
            top, left = grid.top + r * h, grid.left + c * w
            total = area = 0.0
            for y in range(depth.shape[0]):
                for x in range(depth.shape[1]):
                    value = float(depth[y, x])
                    share = overlap(top, top + h, y, y + 1) * overlap(left, left + w, x, x + 1)
                    if math.isfinite(value):
                        total, area = total + share * value, area + share
            means.append(total / area if area > 0 and area >= min_valid * h * w else NAN)
    return torch.tensor(means)


GRIDS = {
    'whole': PatchGrid.over(5, 6, 30, 20),
    'fractional': PatchGrid.over(7, 4, 30, 20),
    'padded': PatchGrid(6, 6, 0, -5, 30, 25, 30, 20),
    'cropped': PatchGrid(4, 4, 5, 0, 25, 20, 30, 20),
}


@pytest.mark.parametrize('grid', GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize('min_valid', [0.0, 0.25, 0.9])
def test_patch_depth_equals_loops(grid, min_valid):
    g = torch.Generator().manual_seed(0)
    depth = torch.rand(20, 30, generator=g) * 4
    depth[torch.rand(20, 30, generator=g) < 0.4] = NAN
    depth[3:9, 4:15] = NAN
    got = pool_depth(depth, grid, min_valid)
    torch.testing.assert_close(
        got, slow_pool_depth(depth, grid, min_valid), equal_nan=True, rtol=1e-4, atol=1e-5
    )


def test_invalid_pixels_never_blend_in():
    depth = torch.full((20, 30), 2.0)
    for missing in (NAN, float('inf'), -float('inf')):
        depth[::2, ::3] = missing
        assert torch.allclose(pool_depth(depth, GRIDS['fractional']), torch.tensor(2.0))


def test_centres_are_pixel_centres_of_the_patches():
    grid = PatchGrid.over(2, 3, 30, 20)
    assert grid.centres.tolist() == [
        [4.5, 4.5],
        [14.5, 4.5],
        [24.5, 4.5],
        [4.5, 14.5],
        [14.5, 14.5],
        [24.5, 14.5],
    ]


def test_metric_points_are_backprojected_and_missing_ones_are_nan():
    depth = torch.full((20, 30), 2.0)
    depth[:10, :10] = NAN
    tokens = metric_tokens(depth, CAMERA, PatchGrid.over(2, 3, 30, 20))
    assert tokens.weight.tolist() == [[0, 1, 1, 1, 1, 1]]
    assert tokens.points[0, 0].isnan().all()
    u, v = 24.5, 14.5
    expected = [(u - 14.5) / 30 * 2, (v - 9.5) / 32 * 2, 2.0]
    assert tokens.points[0, 5].tolist() == pytest.approx(expected, rel=1e-5)
    assert tokens.weight.tolist() == [[0, 1, 1, 1, 1, 1]]


def plane_depth(normal, offset, height, width):
    """Depth of the plane normal . p = offset as CAMERA sees it."""
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    fx, fy, cx, cy = CAMERA.tolist()
    rays = torch.stack([(u - cx) / fx, (v - cy) / fy, torch.ones(height, width)], -1)
    return offset / (rays @ torch.tensor(normal))


FLOOR, WALL = (0.0, 0.96, 0.28), (0.6, 0.0, 0.8)


@pytest.mark.parametrize('normal', [FLOOR, WALL, (0.0, 0.0, 1.0), (-0.48, 0.6, 0.64)])
def test_normals_are_those_of_the_plane_seen(normal):
    grid = PatchGrid.over(2, 3, 30, 20)
    depth = plane_depth(normal, 2.0, 20, 30)
    depth[(depth < 0) | (depth > 20)] = NAN
    points, found = patch_surfaces(depth, CAMERA, grid)
    known = points.isfinite().all(dim=1)
    assert known.sum() >= 3
    found = found[known]
    assert torch.allclose(found, torch.tensor(normal).expand_as(found), atol=1e-3)


def test_normals_survive_holes_and_patches_without_a_slant_face_the_camera():
    grid = PatchGrid.over(2, 3, 30, 20)
    depth = plane_depth(WALL, 2.0, 20, 30)
    depth[torch.rand(20, 30, generator=torch.Generator().manual_seed(0)) < 0.5] = NAN
    _, found = patch_surfaces(depth, CAMERA, grid)
    assert torch.allclose(found, torch.tensor(WALL).expand_as(found), atol=1e-3)
    thin = torch.full((20, 30), NAN)
    thin[4, 10:20] = 2.0  # one row of pixels has no slant
    points, found = patch_surfaces(thin, CAMERA, grid, min_valid=0.05)
    assert torch.allclose(found[1], points[1] / points[1].norm(), atol=1e-5)


def test_one_surface_is_alike_over_metres_and_another_is_not():
    floor = plane_depth(FLOOR, 1.2, 40, 30)
    wall = plane_depth((0.0, 0.0, 1.0), 3.0, 40, 30)
    depth = torch.where((floor > 0) & (floor < wall), floor, wall)
    camera = torch.tensor([30.0, 32.0, 14.5, 9.5])
    tokens = metric_tokens(depth, camera, PatchGrid.over(8, 6, 30, 40))
    s = similarity(tokens)
    points = tokens.points[0]
    near, far, on_wall = 42, 24, 2
    on_floor = [i for i in (near, far) if abs(float(points[i] @ torch.tensor(FLOOR)) - 1.2) < 0.02]
    assert on_floor == [near, far]
    assert float((points[near] - points[far]).norm()) > 0.7
    assert float(s[0, near, far]) > 0.9
    assert float(s[0, near, on_wall]) < -1
    assert float(s.max()) <= 1
    assert torch.allclose(s, s.mT, atol=1e-5)


def test_similarity_falls_with_the_squares_of_both_distances_off_the_planes():
    # Two patches that face the camera, half a metre apart in depth.
    depth = torch.full((1, 2), 1.0)
    depth[0, 1] = 1.5
    camera = torch.tensor([1e6, 1e6, 0.5, 0.0])
    tokens = metric_tokens(depth, camera, PatchGrid.over(1, 2, 2, 1), length_scale_m=0.5)
    near = similarity(tokens, slice(0, 1), slice(1, 2))
    # Either lies one length scale off the other's plane.
    assert float(near) == pytest.approx(1 - math.log(3 + 0.05**2), rel=1e-4)


def test_a_merged_tokens_similarity_is_of_mean_squares_over_pairs_of_patches():
    g = torch.Generator().manual_seed(0)
    depth = torch.rand(20, 30, generator=g) * 3 + 30  # far away, where float32 has less to give
    tokens = metric_tokens(depth, CAMERA, PatchGrid.over(2, 3, 30, 20), length_scale_m=2.0)
    all_pairs = similarity(tokens, slice(0, 2), slice(2, 6))
    merged = torch.stack([tokens.features[:, :2].mean(1), tokens.features[:, 2:].mean(1)], dim=1)
    two = tokens.with_tokens(merged, torch.tensor([[2.0, 4.0]]))
    found = similarity(two, slice(0, 1), slice(1, 2))
    assert float((1 - found).exp()) == pytest.approx(float((1 - all_pairs).exp().mean()), rel=1e-3)


def test_similarity_does_not_depend_on_how_far_away_the_world_is_put():
    g = torch.Generator().manual_seed(0)
    points = torch.rand(40, 3, generator=g)
    normals = torch.nn.functional.normalize(torch.randn(40, 3, generator=g), dim=-1)
    near, far = (surface_codes(points + shift, normals, 0.15) for shift in (0.0, 100.0))
    near, far = (
        similarity(SpatialTokens('metric', codes[None], torch.ones(1, 40)))
        for codes in (near, far)
    )
    torch.testing.assert_close(near, far, rtol=1e-3, atol=1e-3)


def test_level_codes_are_row_column_and_floor_of_the_level():
    ramp = torch.linspace(0, 1, 54).repeat(2, 1)
    grid = PatchGrid.over(1, 27, 54, 2)
    tokens = level_tokens(ramp, grid)
    assert tokens.features.shape == (1, 27, 72)
    for patch in range(27):
        mean = float(ramp[0, 2 * patch : 2 * patch + 2].mean())
        level = min(int(mean * 255 / (256 / 27)), 26)
        for start, position in ((0, 0), (24, patch), (48, level)):
            code = tokens.features[0, patch, start : start + 24].tolist()
            angles = [position / 10000 ** (i / 12) for i in range(12)]
            expected = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
            assert code == pytest.approx(expected, abs=1e-5)


def test_levels_kernel_depends_on_differences_only():
    tokens = level_tokens(torch.zeros(6, 6), PatchGrid.over(6, 6, 6, 6))
    s = similarity(tokens)
    assert tokens.weight.all()
    assert float(s[0, 0, 7]) == pytest.approx(float(s[0, 14, 21]), abs=1e-5)
    assert float(s[0, 0, 1]) > float(s[0, 0, 2]) > float(s[0, 0, 4])


def test_relative_depth_of_metres_is_disparity_with_one_nearest():
    depth = torch.tensor([[1.0, 2.0], [4.0, NAN]])
    relative = relative_from_metric(depth)
    assert relative[0].tolist() == pytest.approx([1.0, 1 / 3], abs=1e-6)
    assert float(relative[1, 0]) == 0
    assert relative[1, 1].isnan()
    assert (relative_from_metric(torch.full((2, 2), 3.0)) == 0).all()
    assert relative_from_metric(torch.full((2, 2), NAN)).isnan().all()


def test_stacked_images_keep_their_own_tokens():
    grid = PatchGrid.over(2, 3, 30, 20)
    one = metric_tokens(torch.full((20, 30), 1.0), CAMERA, grid)
    none = metric_tokens(torch.full((20, 30), NAN), CAMERA, grid)
    both = stack([one, none])
    assert both.features.shape == (2, 6, 30)
    assert both.weight.tolist() == [[1.0] * 6, [0.0] * 6]
    with pytest.raises(SpatialError, match='kinds'):
        stack([one, level_tokens(torch.ones(20, 30), grid)])


def test_bad_input_is_named():
    with pytest.raises(SpatialError, match='focal lengths fx=0'):
        metric_tokens(
            torch.ones(4, 4), torch.tensor([0.0, 1.0, 0.0, 0.0]), PatchGrid.over(2, 2, 4, 4)
        )
    with pytest.raises(SpatialError, match='30x20 pixels on a patch grid made for 48x40'):
        pool(torch.ones(20, 30), PatchGrid.over(2, 2, 48, 40))


@pytest.mark.parametrize('grid', GRIDS.values(), ids=GRIDS)
def test_surfaces_equal_fits_by_loops(grid):
    """Least squares of inverse depth over each patch's valid pixels, weighted by area, float64."""
    g = torch.Generator().manual_seed(1)
    depth = 2 + torch.rand(20, 30, generator=g)
    depth[torch.rand(20, 30, generator=g) < 0.3] = NAN
    points, normals = patch_surfaces(depth, CAMERA, grid)
    rows, cols = (weights.double() for weights in grid.overlaps)
    fx, fy, cx, cy = CAMERA.double()
    for patch in range(grid.patches):
        if not points[patch].isfinite().all():
            continue
        i, j = divmod(patch, grid.cols)
        equations, values = [], []
        for v in range(20):
            for u in range(30):
                weight = float((rows[i, v] * cols[j, u]) ** 0.5)
                if weight and depth[v, u].isfinite():
                    ray = [(u - cx) / fx, (v - cy) / fy, 1.0]
                    equations.append([weight * float(c) for c in ray])
                    values.append(weight / float(depth[v, u]))
        a, b = torch.tensor(equations).double(), torch.tensor(values).double()
        plane = torch.linalg.lstsq(a, b[:, None], driver='gelsd').solution[:, 0]
        plane = torch.nn.functional.normalize(plane, dim=0)
        if plane @ points[patch].double() > 0:
            assert torch.allclose(normals[patch].double(), plane, atol=1e-3), patch


def test_no_depth_of_zero_or_infinity_bends_a_surface():
    grid = PatchGrid.over(2, 3, 30, 20)
    depth = plane_depth(WALL, 2.0, 20, 30)
    holes = depth.clone()
    holes[::3, ::2] = NAN
    expected = patch_surfaces(holes, CAMERA, grid)
    for missing in (0.0, float('inf'), -float('inf')):
        holes[::3, ::2] = missing
        for found, wanted in zip(patch_surfaces(holes, CAMERA, grid), expected, strict=True):
            assert torch.allclose(found, wanted, atol=1e-5)


def test_mean_colour_of_patches_is_that_of_loops():
    g = torch.Generator().manual_seed(0)
    rgb = torch.randint(0, 256, (20, 30, 3), generator=g, dtype=torch.uint8)
    for grid in GRIDS.values():
        slow = pool(rgb.permute(2, 0, 1).float(), grid).T
        assert torch.allclose(pool_colour(rgb, grid), slow, rtol=1e-5, atol=1e-2)
        assert torch.allclose(grid.area, pool(torch.ones(20, 30), grid), atol=1e-4)
