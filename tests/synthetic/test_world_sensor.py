"""The sensor model's noise, steps, holes and limits."""

import numpy as np
import pytest

from tosa_ros.errors import DataError
from tosa_ros.frames import Intrinsics
from tosa_ros.synthetic import SensorModel, single
from tosa_ros.synthetic.render import pixel_rays

K = Intrinsics(200.0, 200.0, 63.5, 63.5, 128, 128)
RAYS = pixel_rays(K)
GREY = np.full((128, 128, 3), 128, np.uint8)
CLEAN = {'edge_hole': 0.0, 'grazing_hole': 0.0, 'dark_hole': 0.0}


def wall(depth_m):
    return np.full((128, 128), depth_m, np.float32)


def measure(model, depth_m, rgb=GREY):
    return model.measure(depth_m, rgb, RAYS, np.random.default_rng(0))


def test_noise_grows_with_the_square_of_the_distance():
    model = SensorModel(disparity_step=0.0, **CLEAN)
    spread = {z: float(np.std(measure(model, wall(z)) - z)) for z in (1.0, 2.0, 4.0)}
    assert spread[1.0] == pytest.approx(model.noise_at_1m, rel=0.05)
    assert spread[2.0] == pytest.approx(4 * spread[1.0], rel=0.05)
    assert spread[4.0] == pytest.approx(16 * spread[1.0], rel=0.05)


def test_depth_comes_in_steps_of_inverse_depth():
    model = SensorModel(disparity_step=0.01, **CLEAN)
    ramp = np.linspace(0.6, 5.5, 128 * 128, dtype=np.float32).reshape(128, 128)
    steps = 1 / measure(model, ramp) / 0.01
    np.testing.assert_allclose(steps, np.round(steps), atol=2e-3)
    assert np.unique(np.round(steps)).size < 170


def test_holes_are_at_edges_and_on_dark_and_grazing_surfaces():
    depth = wall(2.0)
    depth[:, 64:] = 3.0
    rgb = GREY.copy()
    rgb[100:] = 5
    missing = np.isnan(measure(SensorModel(), depth, rgb))
    assert 0.5 < missing[:90, 63:65].mean() < 0.9
    assert 0.4 < missing[100:, :60].mean() < 0.6
    assert not missing[:90, :60].any()
    height_m = 0.05  # a floor just under the camera
    floor = np.where(RAYS[..., 1] > 0.02, height_m / np.maximum(RAYS[..., 1], 1e-6), 2.5)
    grazing = np.isnan(measure(SensorModel(edge_hole=0.0), floor.astype(np.float32)))
    assert grazing[70:90].mean() > 0.4


def test_outside_the_range_nothing_is_measured():
    model = SensorModel(min_depth_m=0.5, max_depth_m=4.0, **CLEAN)
    assert np.isnan(measure(model, wall(0.3))).all()
    assert np.isnan(measure(model, wall(4.5))).all()
    assert not np.isnan(measure(model, wall(2.0))).any()


def test_what_was_missing_stays_missing():
    depth = wall(2.0)
    depth[10:20] = np.nan
    assert np.isnan(measure(SensorModel(), depth)[10:20]).all()


def test_a_perfect_sensor_changes_nothing():
    model = SensorModel(noise_at_1m=0.0, disparity_step=0.0, max_depth_m=20.0, **CLEAN)
    exact = single('test', 4, questions=0)
    seen = single('test', 4, questions=0, sensor=model)
    np.testing.assert_array_equal(exact.frame.depth_m, seen.frame.depth_m)


def test_a_room_through_a_real_sensor():
    """Mostly right to a few centimetres, with some holes: what D435-like cameras give."""
    for index in range(4):
        exact = single('test', index, questions=0).frame.depth_m
        seen = single('test', index, questions=0, sensor=SensorModel()).frame.depth_m
        assert 0.01 < np.isnan(seen).mean() < 0.3
        assert np.nanmedian(np.abs(seen - exact)) < 0.05
        assert np.nanmax(np.abs(seen - exact)) < 0.6


@pytest.mark.parametrize(
    ('settings', 'match'),
    [
        ({'noise_at_1m': -1.0}, 'noise_at_1m is -1.0; wanted 0 or more'),
        ({'noise_at_1m': float('nan')}, 'noise_at_1m is nan'),
        ({'edge_hole': 1.5}, 'edge_hole is 1.5; wanted 0 to 1'),
        ({'min_depth_m': 3.0, 'max_depth_m': 2.0}, 'range 3.0 to 2.0 m'),
    ],
)
def test_bad_settings_are_named(settings, match):
    with pytest.raises(DataError, match=match):
        SensorModel(**settings)
