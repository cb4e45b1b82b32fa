"""A tf tree over time: between two transforms, at its ends, and what is missing, in words."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tosa_ros.errors import RosError
from tosa_ros.messages.poses import between_poses, pose_of
from tosa_ros.messages.transforms import MAX_FRAMES, Track, Transforms

SECOND = 1_000_000_000
HALF_TURN = (0.0, 0.0, 1.0, 0.0)
NO_TURN = (0.0, 0.0, 0.0, 1.0)


def at(x, turn=NO_TURN):
    return pose_of((x, 0.0, 0.0), turn)


def tf(parent, child, x, stamp_s=0.0, turn=NO_TURN):
    sec, nanosec = divmod(round(stamp_s * SECOND), SECOND)
    link = SimpleNamespace(
        header=SimpleNamespace(frame_id=parent, stamp=SimpleNamespace(sec=sec, nanosec=nanosec)),
        child_frame_id=child,
        transform=SimpleNamespace(
            translation=SimpleNamespace(x=x, y=0.0, z=0.0),
            rotation=SimpleNamespace(**dict(zip('xyzw', turn, strict=True))),
        ),
    )
    return SimpleNamespace(transforms=[link])


def track(*stamps_s, keep_s=None):
    made = Track(None if keep_s is None else keep_s * SECOND)
    for stamp_s in stamps_s:
        made.add(round(stamp_s * SECOND), at(stamp_s))
    return made


def x_at(made, stamp_s, beyond_s=0.5):
    pose = made.at(round(stamp_s * SECOND), round(beyond_s * SECOND))
    return None if pose is None else pose[0, 3]


def test_between_two_poses_it_moves_and_turns_evenly():
    first, second = at(0.0), at(4.0, HALF_TURN)
    np.testing.assert_allclose(between_poses(first, second, 0.0), first, atol=1e-12)
    np.testing.assert_allclose(between_poses(first, second, 1.0), second, atol=1e-12)
    quarter = between_poses(first, second, 0.25)
    assert quarter[0, 3] == pytest.approx(1.0)
    # A quarter of the half turn, either way round.
    assert np.degrees(np.arccos(quarter[0, 0])) == pytest.approx(45.0)
    assert between_poses(first, first, 0.5) == pytest.approx(first)


def test_a_time_between_two_poses_is_between_them():
    assert x_at(track(1.0, 2.0, 3.0), 2.25) == pytest.approx(2.25)
    assert x_at(track(3.0, 1.0, 2.0), 2.25) == pytest.approx(2.25)
    assert x_at(track(1.0, 2.0), 2.0) == pytest.approx(2.0)
    # Too far from both.
    assert x_at(track(1.0, 5.0), 1.4) == pytest.approx(1.4)
    assert x_at(track(1.0, 5.0), 3.0) is None
    assert x_at(Track(), 3.0) is None


def test_at_the_ends_the_nearest_one_holds_for_a_while():
    made = track(1.0, 2.0)
    assert x_at(made, 2.1, beyond_s=0.1) == pytest.approx(2.0)
    assert x_at(made, 2.11, beyond_s=0.1) is None
    assert x_at(made, 0.9, beyond_s=0.1) == pytest.approx(1.0)
    assert x_at(made, 0.89, beyond_s=0.1) is None


def test_what_is_kept_is_bounded_and_ends_when_time_is_set_back():
    made = track(*np.arange(0.0, 1000.0, 0.5), keep_s=10)
    assert len(made._stamps) <= 41
    assert x_at(made, 995.0) == pytest.approx(995.0)
    assert x_at(made, 970.0) is None
    made.add(5 * SECOND, at(7.0))
    assert x_at(made, 995.0) is None
    assert x_at(made, 5.0) == pytest.approx(7.0)


def test_a_frame_s_place_is_found_below_a_common_one():
    made = Transforms()
    made.add(tf('map', 'odom', 10.0), static=True)
    made.add(tf('odom', 'base', 1.0, 5.0), static=False)
    made.add(tf('odom', 'base', 3.0, 6.0), static=False)
    made.add(tf('base', 'camera', 0.5), static=True)
    pose = made.look_up('camera', 'map', round(5.5 * SECOND))
    assert pose[0, 3] == pytest.approx(10.0 + 2.0 + 0.5)
    back = made.look_up('/map', '/camera', round(5.5 * SECOND))
    np.testing.assert_allclose(back, np.linalg.inv(pose), atol=1e-12)
    # What is above both need not be known at that time.
    made.add(tf('earth', 'map', 100.0, 50.0), static=False)
    assert made.look_up('camera', 'map', round(5.5 * SECOND)) == pytest.approx(pose)


@pytest.mark.parametrize(
    ('stamp_s', 'said'),
    [
        (6.2, "the nearest transform from 'base' to 'odom' is 0.20 s older than the frame"),
        (3.0, "the nearest transform from 'base' to 'odom' is 2.00 s newer than the frame"),
    ],
)
def test_a_link_that_lacks_at_that_time_is_named(stamp_s, said):
    made = Transforms(beyond_ns=SECOND // 10)
    made.add(tf('odom', 'base', 1.0, 5.0), static=False)
    made.add(tf('odom', 'base', 3.0, 6.0), static=False)
    with pytest.raises(RosError, match=said):
        made.look_up('base', 'odom', round(stamp_s * SECOND))
    assert made.between('base', 'odom', round(stamp_s * SECOND)) is None


def test_frames_that_nothing_connects_are_named():
    made = Transforms()
    made.add(tf('odom', 'base', 1.0), static=True)
    with pytest.raises(RosError, match="tf does not connect 'base' to 'map'"):
        made.look_up('base', 'map', 0)


def test_a_circle_ends():
    made = Transforms()
    for parent, child in (('a', 'b'), ('b', 'c'), ('c', 'a')):
        made.add(tf(parent, child, 1.0), static=True)
    assert made.look_up('a', 'c', 0).shape == (4, 4)
    with pytest.raises(RosError, match='does not connect'):
        made.look_up('a', 'map', 0)


def test_the_number_of_frames_is_bounded():
    made = Transforms()
    for number in range(MAX_FRAMES + 10):
        made.add(tf('map', f'f{number}', 1.0), static=True)
    assert made.between('f0', 'map', 0) is not None
    assert made.between(f'f{MAX_FRAMES}', 'map', 0) is None
