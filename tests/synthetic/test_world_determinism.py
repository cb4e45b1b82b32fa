"""Seeds decide everything, in every process; splits never share them."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from tosa_ros.errors import DataError
from tosa_ros.synthetic import SPLITS, SensorModel, episode, single
from tosa_ros.synthetic.rooms import SEEDS_PER_SPLIT, STYLES, generator

FINGERPRINT = """
import hashlib
from tosa_ros.synthetic import SensorModel, episode, single
def fingerprint():
    digest = hashlib.sha256()
    view = single('test', 3, questions=12, sensor=SensorModel())
    for made in (view, episode('val', 5, frames=3)):
        for frame in getattr(made, 'frames', None) or (made.frame,):
            for array in (frame.rgb, frame.depth_m, frame.pose):
                digest.update(array.tobytes())
        digest.update(made.instances.tobytes())
        digest.update(repr((made.objects, made.questions)).encode())
    return digest.hexdigest()
"""


def test_same_output_in_another_process():
    here = {}
    exec(FINGERPRINT, here)
    run = subprocess.run(
        [sys.executable, '-c', FINGERPRINT + 'print(fingerprint())'],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {'PYTHONHASHSEED': '1', 'OMP_NUM_THREADS': '1'},
    )
    assert run.stdout.strip() == here['fingerprint']()


def test_importing_the_world_needs_no_open3d():
    code = "import sys, tosa_ros.synthetic; print('open3d' in sys.modules)"
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == 'False'


def test_questions_and_sensor_leave_the_scene_alone():
    plain = single('test', 8, questions=0)
    asked = single('test', 8, questions=20, sensor=SensorModel())
    assert plain.questions == ()
    assert asked.objects == plain.objects
    np.testing.assert_array_equal(asked.frame.rgb, plain.frame.rgb)
    np.testing.assert_array_equal(asked.instances, plain.instances)
    assert np.isnan(asked.frame.depth_m).any()
    assert not np.isnan(plain.frame.depth_m).any()


def test_size_leaves_the_scene_alone():
    small, large = single('test', 8, size=64), single('test', 8, size=192)
    assert small.frame.rgb.shape == (64, 64, 3)
    assert [o.name for o in small.objects] == [o.name for o in large.objects]
    for a, b in zip(small.objects, large.objects, strict=True):
        assert a.centre == b.centre
        if a.visible_pixels > 60:
            assert a.visible_pixels * 9 == pytest.approx(b.visible_pixels, rel=0.2)


def test_splits_share_no_seed():
    draws = {
        (split, index): tuple(generator(split, index, 'scene').integers(2**60, size=2))
        for split in SPLITS
        for index in (0, 1, SEEDS_PER_SPLIT - 1)
    }
    assert len(set(draws.values())) == len(draws)
    pictures = {hashlib.sha256(single(s, 0).frame.rgb.tobytes()).hexdigest() for s in SPLITS}
    assert len(pictures) == len(SPLITS)


def test_unseen_rooms_are_outside_what_training_shows():
    train, unseen = STYLES['train'], STYLES['unseen']
    assert STYLES['test'] == STYLES['val'] == train
    assert not set(train.walls) & set(unseen.walls)
    assert unseen.width_m[0] >= train.width_m[1]
    assert unseen.camera_height_m[0] >= train.camera_height_m[1]
    heights = [single('unseen', i, questions=0).frame.pose[2, 3] for i in range(5)]
    assert min(heights) >= train.camera_height_m[1]


@pytest.mark.parametrize(
    ('arguments', 'options', 'match'),
    [
        (('exam', 0), {}, "split: 'exam'.*train, val, test, unseen"),
        (('test', -1), {}, 'index: -1'),
        (('test', SEEDS_PER_SPLIT), {}, 'index: 1000000000'),
        (('test', 1.5), {}, 'index: 1.5'),
        (('test', 0), {'size': 8}, 'size: 8 pixels; wanted a whole number from 32'),
        (('test', 0), {'questions': -3}, 'questions: -3'),
    ],
)
def test_bad_arguments_are_named(arguments, options, match):
    with pytest.raises(DataError, match=match):
        single(*arguments, **options)


@pytest.mark.parametrize('frames', [1, 0, 10_000, 2.5])
def test_bad_frame_counts_are_named(frames):
    with pytest.raises(DataError, match=f'frames: {frames}'):
        episode('test', 0, frames=frames)
