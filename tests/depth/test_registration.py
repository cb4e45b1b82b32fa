from __future__ import annotations

import numpy as np
import pytest
import torch

from tosa_ros.depth import register_depth
from tosa_ros.depth.registration import SAMPLE_SPACING_PX, register_coarsely
from tosa_ros.errors import DepthError
from tosa_ros.frames import Intrinsics
from tosa_ros.spatial import PatchGrid
from tosa_ros.spatial.patches import pool_depth

NAN = float('nan')
DEPTH_CAMERA = Intrinsics(40, 42, 19.3, 14.6, 40, 30)


def transform(degrees=(0, 0, 0), translation=(0, 0, 0)):
    """Rotation about x, then y, then z, and a translation in metres."""
    x, y, z = np.radians(degrees)
    rx = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    ry = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = rz @ ry @ rx
    matrix[:3, 3] = translation
    return matrix


def directions(camera):
    """(H, W, 3) of rays through the pixel centres, with z = 1: depth is the ray's length."""
    v, u = np.mgrid[: camera.height, : camera.width]
    return np.stack(
        [(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], -1
    )


def cast_plane(camera, to_camera, normal, offset):
    """Depth of the plane normal . X = offset (given in the depth camera's frame)."""
    rotation, translation = to_camera[:3, :3], to_camera[:3, 3]
    normal = rotation @ normal
    offset = offset + normal @ translation
    depth = offset / (directions(camera) @ normal)
    return np.where(depth > 0, depth, NAN)


def cast_sphere(camera, to_camera, centre, radius):
    centre = to_camera[:3, :3] @ centre + to_camera[:3, 3]
    rays = directions(camera)
    a, b, c = (rays**2).sum(-1), rays @ centre, centre @ centre - radius**2
    root = b**2 - a * c
    return np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, NAN)


def by_loops(depth_m, source, target, matrix):
    """The same thing, one sample after another."""
    result = np.full((target.height, target.width), np.inf)
    for v in range(source.height):
        for u in range(source.width):
            z = float(depth_m[v, u])
            if not (np.isfinite(z) and z > 0):
                continue

            def move(du, dv, u=u, v=v, z=z):
                x = (u + du - source.cx) / source.fx * z
                y = (v + dv - source.cy) / source.fy * z
                return matrix[:3, :3] @ [x, y, z] + matrix[:3, 3]

            ahead = move(0, 0)[2]
            if ahead <= 0:
                continue
            larger = max(target.fx / source.fx, target.fy / source.fy) * z / ahead
            n = max(1, int(np.ceil(larger / SAMPLE_SPACING_PX - 1e-9)))
            assert n <= 16
            for i in range(n):
                for j in range(n):
                    x, y, d = move((i + 0.5) / n - 0.5, (j + 0.5) / n - 0.5)
                    if d <= 0:
                        continue
                    column = int(np.floor(target.fx * x / d + target.cx + 0.5))
                    row = int(np.floor(target.fy * y / d + target.cy + 0.5))
                    if 0 <= column < target.width and 0 <= row < target.height:
                        result[row, column] = min(result[row, column], d)
    return np.where(np.isinf(result), NAN, result)


@pytest.mark.parametrize(
    ('target', 'matrix'),
    [
        (DEPTH_CAMERA, transform(translation=(0.05, 0, 0))),
        (Intrinsics(81, 80, 41.7, 28.2, 85, 61), transform((1, -2, 3), (0.02, -0.01, 0.005))),
        (Intrinsics(21, 20, 9.2, 7.1, 20, 15), transform((4, 2, 30), (-0.1, 0.03, 0.2))),
        (Intrinsics(60, 60, 30, 20, 60, 40), transform((0, 60, 0), (-1, 0, 0.3))),
    ],
)
def test_equals_the_loops(target, matrix):
    rng = np.random.default_rng(7)
    depth = rng.uniform(0.4, 5, (30, 40)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.2] = NAN
    ours = register_depth(depth, DEPTH_CAMERA, target, matrix)
    theirs = by_loops(depth, DEPTH_CAMERA, target, matrix)
    assert ours.dtype == np.float32
    assert np.isfinite(theirs).mean() > 0.2
    # A sample on the very border of a pixel may round either way in single precision.
    same = np.isclose(ours, theirs, rtol=1e-4, equal_nan=True)
    assert same.mean() > 0.998


def test_the_same_camera_gives_the_same_depth_bit_for_bit():
    depth = np.random.default_rng(0).uniform(0.2, 9, (30, 40)).astype(np.float32)
    depth[3:6, 4:9] = NAN
    np.testing.assert_array_equal(register_depth(depth, DEPTH_CAMERA, DEPTH_CAMERA), depth)


@pytest.mark.parametrize('factor', [2, 3])
def test_a_finer_image_repeats_the_depth_pixels(factor):
    depth = np.random.default_rng(0).uniform(0.2, 9, (30, 40)).astype(np.float32)
    depth[3:6, 4:9] = NAN
    colour = DEPTH_CAMERA.scaled(40 * factor, 30 * factor)
    registered = register_depth(depth, DEPTH_CAMERA, colour, np.eye(4))
    repeated = depth.repeat(factor, 0).repeat(factor, 1)
    np.testing.assert_array_equal(registered, repeated)


@pytest.mark.parametrize('size', [(50, 38), (81, 60), (100, 75), (130, 97)])
def test_no_holes_at_any_resolution(size):
    depth = np.full((30, 40), 2, np.float32)
    registered = register_depth(depth, DEPTH_CAMERA, DEPTH_CAMERA.scaled(*size))
    assert (registered == 2).all()


@pytest.mark.parametrize('scale', [0.5, 1, 2.025, 3])
@pytest.mark.parametrize('roll', [0, 20, 45])
def test_slanted_planes_match_the_ray_cast_without_holes(scale, roll):
    depth_camera = Intrinsics(100, 100, 49.5, 39.5, 100, 80)
    width, height = round(100 * scale), round(80 * scale)
    # A wider view at the same focal length would look past the depth camera's border.
    colour = Intrinsics(100 * scale, 100 * scale, (width - 1) / 2, (height - 1) / 2, width, height)
    matrix = transform((0, 0, roll), (0.05, -0.03, 0.01))
    normal, offset = np.array([0.5, -0.4, 1.0]), 1.5
    depth = cast_plane(depth_camera, np.eye(4), normal, offset).astype(np.float32)
    truth = cast_plane(colour, matrix, normal, offset)
    registered = register_depth(depth, depth_camera, colour, matrix)
    # The middle is seen by both cameras.
    middle = np.s_[height // 4 : -height // 4, width // 4 : -width // 4]
    assert np.isfinite(registered[middle]).all()
    # Half a pixel of either image, on this slope.
    pixel = 1 / 100 + 1 / (100 * scale)
    assert np.abs(registered[middle] / truth[middle] - 1).max() < pixel


def test_nothing_floats_between_a_sphere_and_its_wall():
    depth_camera = Intrinsics(150, 150, 79.5, 59.5, 160, 120)
    colour = Intrinsics(300, 300, 159.5, 119.5, 320, 240)
    matrix = transform((1, 2, 1), (-0.06, 0.01, 0))
    centre, radius = np.array([0.1, 0, 1.2]), 0.25

    def scene(camera, to_camera):
        wall = cast_plane(camera, to_camera, np.array([0, 0, 1.0]), 3)
        return cast_sphere(camera, to_camera, centre, radius), wall

    depth = np.fmin(*scene(depth_camera, np.eye(4))).astype(np.float32)
    sphere, wall = scene(colour, matrix)
    registered = register_depth(depth, depth_camera, colour, matrix)
    seen = np.isfinite(registered)
    near = registered < 2
    assert np.abs(registered - wall)[seen & ~near].max() < 0.02
    # A sphere's depth runs from its nearest point to its middle, wherever the edge falls.
    assert registered[seen & near].max() < (matrix @ [*centre, 1])[2] + radius
    # Both surfaces are where the ray cast has them, but for a pixel at the edge.
    on_sphere = np.isfinite(sphere)
    assert np.mean(near[seen] == on_sphere[seen]) > 0.98
    inside = on_sphere & near
    assert np.median(np.abs(registered - sphere)[inside]) < 0.003
    # The wall that the sphere hides from the depth camera alone is not made up.
    hidden = ~seen[60:180, 80:240]
    assert 0.005 < hidden.mean() < 0.1


@pytest.mark.parametrize('mirrored', [False, True])
def test_the_nearest_wins_whatever_the_order(mirrored):
    camera = Intrinsics(10, 10, 2, 0, 5, 1)
    depth = np.array([[1, 3, 3, 3, 3]], np.float32)
    # 0.1 m to the side, the pixel at 1 m moves by one pixel, those at 3 m by a third of one.
    shift = transform(translation=(-0.1 if mirrored else 0.1, 0, 0))
    if mirrored:
        depth = depth[:, ::-1]
    registered = register_depth(depth, camera, camera, shift)
    expected = np.array([[NAN, 1, 3, 3, 3]])
    np.testing.assert_array_equal(registered, expected[:, ::-1] if mirrored else expected)


def test_missing_depth_does_not_spread():
    depth = np.full((30, 40), 2, np.float32)
    depth[10:20, 10:20] = NAN
    colour = DEPTH_CAMERA.scaled(80, 60)
    registered = register_depth(depth, DEPTH_CAMERA, colour)
    assert np.isnan(registered).sum() == 400
    assert np.isnan(registered[20:40, 20:40]).all()


@pytest.mark.parametrize('bad', [NAN, np.inf, -np.inf, 0, -1])
def test_missing_measurements_stay_missing(bad):
    depth = np.full((30, 40), bad, np.float32)
    assert np.isnan(register_depth(depth, DEPTH_CAMERA, DEPTH_CAMERA)).all()


def test_what_lies_behind_the_colour_camera_is_not_seen():
    depth = np.full((30, 40), 2, np.float32)
    behind = transform(translation=(0, 0, -2.5))
    turned = transform((0, 180, 0))
    on_the_lens = transform(translation=(0, 0, -2))
    for matrix in (behind, turned, on_the_lens):
        assert np.isnan(register_depth(depth, DEPTH_CAMERA, DEPTH_CAMERA, matrix)).all()


def test_faults():
    depth = np.ones((30, 40), np.float32)
    with pytest.raises(DepthError, match=r'depth is 40x30 pixels.*for 80x60'):
        register_depth(depth, DEPTH_CAMERA.scaled(80, 60), DEPTH_CAMERA)
    with pytest.raises(DepthError, match='dtype uint16; wanted'):
        register_depth(depth.astype(np.uint16), DEPTH_CAMERA, DEPTH_CAMERA)
    with pytest.raises(DepthError, match=r'shape \(3, 3\); wanted a finite 4x4'):
        register_depth(depth, DEPTH_CAMERA, DEPTH_CAMERA, np.eye(3))
    with pytest.raises(DepthError, match='not a rotation and a translation'):
        register_depth(depth, DEPTH_CAMERA, DEPTH_CAMERA, np.eye(4) * 1000)
    with pytest.raises(DepthError, match='not a rotation'):
        register_depth(depth, DEPTH_CAMERA, DEPTH_CAMERA, transform(translation=(0.05, 0, 0)).T)
    with pytest.raises(DepthError, match='not a rotation'):
        register_depth(depth, DEPTH_CAMERA, DEPTH_CAMERA, np.diag([-1.0, 1, 1, 1]))


def room(camera, to_camera):
    """A slanted wall, a floor, and two spheres in front of them."""
    surfaces = [
        cast_plane(camera, to_camera, np.array([0.3, 0.05, 1.0]), 3.2),
        cast_plane(camera, to_camera, np.array([0, 1.0, 0.02]), 0.9),
        cast_sphere(camera, to_camera, np.array([-0.35, 0.1, 1.3]), 0.3),
        cast_sphere(camera, to_camera, np.array([0.5, -0.2, 1.9]), 0.25),
    ]
    return np.fmin.reduce(surfaces).astype(np.float32)


@pytest.mark.parametrize('grid', [16, 27])
@pytest.mark.parametrize(
    ('size', 'focal'),
    [((1280, 720), 920), ((1280, 720), 640), ((640, 480), 610), ((1920, 1080), 1380)],
)
def test_coarse_registration_gives_patches_the_same_depth(size, focal, grid):
    """Within 1 % for nine of ten; others have a near thing's outline in them."""
    depth_camera = Intrinsics(423, 423, 423.5, 239.5, 848, 480)
    width, height = size
    colour = Intrinsics(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)
    matrix = transform((0.3, -0.5, 0.2), (0.059, 0.0, 0.0))
    depth = room(depth_camera, np.eye(4))
    depth[:, 300:320] = NAN
    fine = register_depth(depth, depth_camera, colour, matrix)
    coarse = register_coarsely(depth, depth_camera, colour, matrix)
    assert coarse.shape == fine.shape
    assert coarse.dtype == np.float32
    assert not np.array_equal(coarse, fine, equal_nan=True)
    patches = PatchGrid.over(grid, grid, width, height)
    means = [pool_depth(torch.from_numpy(one), patches) for one in (fine, coarse)]
    both = means[0].isfinite() & means[1].isfinite()
    assert (both == means[0].isfinite()).float().mean() > 0.99
    apart = (means[1] / means[0] - 1)[both].abs()
    assert apart.median() < 1e-3
    assert apart.quantile(0.9) < 0.01
    assert apart.quantile(0.95) < 0.015
    assert apart.max() < 0.075


def test_coarse_is_exact_where_there_is_nothing_to_save():
    depth = np.random.default_rng(0).uniform(0.2, 9, (480, 640)).astype(np.float32)
    own = Intrinsics(500, 500, 320, 240, 640, 480)
    for colour in (
        Intrinsics(340, 340, 320, 240, 640, 480),
        Intrinsics(900, 900, 50, 40, 100, 80),
    ):
        fine, coarse = (f(depth, own, colour) for f in (register_depth, register_coarsely))
        np.testing.assert_array_equal(coarse, fine)
