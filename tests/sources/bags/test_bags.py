"""Bags made here and read back: conversion, topics, stamps, depth, poses, damage, memory."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from tosa_ros.errors import DataError, DepthError
from tosa_ros.evaluation.replay import BagQuestions
from tosa_ros.frames import Intrinsics
from tosa_ros.sources import read_folder, write_folder
from tosa_ros.sources.bags import BagFrames, BagTopics, bag_to_folder, folder_to_bag
from tosa_ros.sources.bags.writing import Shot, bag_writer

pytest.importorskip('rosbags')
START_NS = 10**18


def same(one, other):
    """Two frames, to the last bit; their poses as far as a quaternion holds a rotation."""
    np.testing.assert_array_equal(one.rgb, other.rgb)
    np.testing.assert_array_equal(one.depth_m, other.depth_m)
    assert one.intrinsics == other.intrinsics
    assert (one.pose is None) == (other.pose is None)
    if one.pose is not None:
        np.testing.assert_allclose(one.pose, other.pose, atol=1e-12)


# Conversion


@pytest.mark.parametrize(('storage', 'form'), [('mcap', 'raw'), ('sqlite3', 'png')])
def test_episode_to_bag_and_back_loses_nothing(folder, tmp_path, storage, form):
    assert folder_to_bag(folder, tmp_path / 'bag', storage=storage, image_format=form) == 3
    bag = BagFrames(tmp_path / 'bag')
    for one, other in zip(folder, bag, strict=True):
        same(one, other)
    [note] = bag.notes
    assert note.startswith('depth is /camera/depth/image_raw')
    assert note.endswith("aligned to colour: it is in colour's frame 'camera_color_optical_frame'")
    np.testing.assert_array_equal(np.diff(bag.stamps_s), 1.0)
    assert bag_to_folder(bag, tmp_path / 'back') == 3
    back = read_folder(tmp_path / 'back')
    assert back.stems == folder.stems
    for one, other in zip(folder, back, strict=True):
        same(one, other)
    for name in ('00001-depth.png', '00002-rgb.png'):
        pixels = [np.asarray(Image.open(tmp_path / p / name)) for p in ('episode', 'back')]
        np.testing.assert_array_equal(*pixels)
    folder_to_bag(back, tmp_path / 'again')  # stamps.txt has kept them
    assert BagFrames(tmp_path / 'again').stamps_ns == bag.stamps_ns


def test_depth_in_other_units_survives(frames, tmp_path):
    folder = write_folder(tmp_path / 'hm3d', frames, depth_scale=6553.5)
    folder_to_bag(folder, tmp_path / 'bag')
    bag = BagFrames(tmp_path / 'bag')
    np.testing.assert_array_equal(bag[1].depth_m, folder[1].depth_m)
    bag_to_folder(bag, tmp_path / 'back')
    pixels = [np.asarray(Image.open(tmp_path / p / '00001-depth.png')) for p in ('hm3d', 'back')]
    np.testing.assert_array_equal(*pixels)


def test_depth_of_another_size_keeps_it(folder, tmp_path):
    """ScanNet's: 640x480 depth under 1296x968 colour; here half and half."""
    rng = np.random.default_rng(1)
    for stem in folder.stems:
        half = rng.integers(800, 3000, (12, 16)).astype(np.uint16)
        Image.fromarray(half).save(folder.path / f'{stem}-depth.png')
    k = np.eye(4)
    k[:2, :3] = [[20, 0, 7.5], [0, 20, 5.5]]
    np.savetxt(folder.path / 'intrinsic_depth.txt', k)
    folder = read_folder(folder.path)
    folder_to_bag(folder, tmp_path / 'bag')
    bag = BagFrames(tmp_path / 'bag')
    same(folder[1], bag[1])
    bag_to_folder(bag, tmp_path / 'back')
    same(folder[2], read_folder(tmp_path / 'back')[2])
    assert Image.open(tmp_path / 'back' / '00000-depth.png').size == (16, 12)


def test_a_folder_of_a_phone_becomes_a_bag(frames, tmp_path):
    place = tmp_path / 'phone'
    write_folder(place, frames)
    for i, frame in enumerate(frames):
        (place / f'{i:05d}-depth.png').unlink()
        metres = np.nan_to_num(frame.depth_m[::2, ::2]) if i else frame.depth_m
        np.save(place / f'{i:05d}-depth.npy', metres)
    folder = read_folder(place)
    folder_to_bag(folder, tmp_path / 'bag')
    for one, other in zip(folder, BagFrames(tmp_path / 'bag'), strict=True):
        same(one, other)


@pytest.mark.parametrize(
    'stems',
    [['../a', 'b', 'c'], ['a', 'a', 'b'], ['x/y', 'b', 'c'], ['', 'b', 'c'], [1, 2, 3], 'abc'],
)
def test_names_in_a_bag_that_are_no_files_names_are_not_used(folder, tmp_path, stems):
    custom = {'stems': stems, 'depth_scale': 1000}
    with bag_writer(tmp_path / 'bag', custom=custom) as write:
        for i, frame in enumerate(folder):
            write(Shot(START_NS + i, str(i), frame.rgb))
    bag_to_folder(BagFrames(tmp_path / 'bag'), tmp_path / 'deep' / 'back')
    assert read_folder(tmp_path / 'deep' / 'back').stems == ('000000', '000001', '000002')
    assert not [*(tmp_path / 'deep').glob('a*')]


@pytest.mark.parametrize('degrees', [90, 180, 270])
def test_everything_is_turned_both_ways(folder, tmp_path, degrees):
    folder_to_bag(folder, tmp_path / 'bag', rotate=degrees)
    bag = BagFrames(tmp_path / 'bag')
    for one, other in zip(folder, bag, strict=True):
        same(one.turned(degrees), other)
    bag_to_folder(bag, tmp_path / 'back', rotate=360 - degrees)
    for one, other in zip(folder, read_folder(tmp_path / 'back'), strict=True):
        same(one, other)


@pytest.mark.parametrize(
    ('size', 'mount'),
    [
        ((24, 32), (0.0, 0, 0)),  # of colour's size, but with another calibration
        ((24, 32), (0.1, 0, 0)),
        ((12, 16), (0.1, 0, 0)),  # a folder knows of no place of the depth camera
        ((24, 32), None),  # nor does this bag: depth is used as if it were aligned
        ((12, 16), None),
    ],
)
def test_depth_of_another_camera_is_the_bags_in_the_folder_too(
    make, frames, write_bag, recording, tmp_path, size, mount
):
    height, width = size
    own = Intrinsics(1.4 * width, 1.4 * width, 0.4 * width, 0.5 * height, width, height)
    depth = np.full(size, 2000, np.uint16)
    depth[:, : width // 2] = 1000
    messages = [m for m in recording(make, frames, n=1) if 'depth' not in m[0]]
    messages += [
        ('/d/image_raw', START_NS, make.image(depth, '16UC1', START_NS, 'depth_optical')),
        ('/d/camera_info', START_NS, make.info(own, frame='depth_optical')),
    ]
    if mount is not None:
        tf = make.tf(make.transform('optical', 'depth_optical', mount, START_NS))
        messages.append(('/tf_static', START_NS, tf))
    bag = BagFrames(write_bag(messages))
    bag_to_folder(bag, tmp_path / 'folder')
    assert np.nanmax(bag[0].depth_m) == 2
    same(bag[0], read_folder(tmp_path / 'folder')[0])


def test_smaller_depth_without_its_own_camera_reads_the_same_from_the_folder(
    make, frames, write_bag, recording, tmp_path
):
    messages = [m for m in recording(make, frames, n=1) if 'depth' not in m[0]]
    depth = np.repeat(np.arange(1000, 1016, dtype=np.uint16)[None], 12, 0)
    messages.append(('/d/image_raw', START_NS, make.image(depth, '16UC1', START_NS)))
    bag = BagFrames(write_bag(messages))
    bag_to_folder(bag, tmp_path / 'folder')
    same(bag[0], read_folder(tmp_path / 'folder')[0])


def test_a_pose_that_is_not_a_rotation_is_refused(folder, tmp_path):
    np.savetxt(folder.path / '00001.txt', np.diag([1.0, 1.1, 1.0, 1.0]))
    with pytest.raises(DataError, match='frame 00001: its pose is'):
        folder_to_bag(read_folder(folder.path), tmp_path / 'bag')
    assert not (tmp_path / 'bag').exists()


def test_the_bag_command(folder, tmp_path, command, capsys):
    bag, back = tmp_path / 'bag', tmp_path / 'back'
    args = ('--storage', 'sqlite3', '--format', 'jpeg', '--rate', 10)
    assert command('bag', 'from-episode', folder.path, '--out', bag, *args) == 0
    assert command('bag', 'to-episode', bag, '--out', back, '--every', 2) == 0
    assert read_folder(back).stems == ('00000', '00002')
    assert '2 frames' in capsys.readouterr().out
    with pytest.raises(DataError, match='already exists'):
        command('bag', 'to-episode', bag, '--out', back)
    for way, source in (('from-episode', folder.path), ('to-episode', bag)):
        for scale in (0, -1):
            new = ('--out', tmp_path / 'new', '--depth-scale', scale)
            with pytest.raises(DepthError, match='depth scale'):
                command('bag', way, source, *new)


# Topics, stamps and pairs


def test_unnamed_topics_are_found_by_type(make, frames, write_bag, recording):
    bag = BagFrames(write_bag(recording(make, frames)))
    assert bag.topics == BagTopics(
        image='/camera/color/image_raw',
        depth='/camera/depth/image_raw',
        camera_info='/camera/color/camera_info',
        depth_camera_info='none',
        pose='none',
    )
    frame = bag[2]
    np.testing.assert_array_equal(frame.depth_m, frames[2].depth_m)
    assert frame.intrinsics == frames[2].intrinsics
    assert frame.stamp == pytest.approx(START_NS * 1e-9 + 0.2)


def test_several_candidates_are_asked_for_by_name(make, frames, write_bag, recording):
    extra = [('/left/image_raw', START_NS, make.image(frames[1].rgb, 'rgb8', START_NS))]
    path = write_bag(recording(make, frames) + extra)
    with pytest.raises(DataError, match=r'2 colour image topics.*/left/image_raw.*--image-topic'):
        BagFrames(path)
    bag = BagFrames(path, BagTopics(image='/left/image_raw', depth='none'))
    np.testing.assert_array_equal(bag[0].rgb, frames[1].rgb)
    assert bag[0].depth_m is None
    with pytest.raises(DataError, match=r'topic /right: not in the bag; it has .*/left/image_raw'):
        BagFrames(path, BagTopics(image='/right'))


def test_infrared_and_compressed_copies_are_not_candidates(make, frames, write_bag, recording):
    stream = io.BytesIO()
    Image.fromarray(frames[0].rgb).save(stream, 'PNG')
    grey = make.image(frames[0].rgb[..., 0], 'mono8', START_NS)
    copy = make.compressed(stream.getvalue(), 'rgb8; png compressed bgr8', START_NS)
    extra = [
        ('/camera/infra/image_raw', START_NS, grey),
        ('/camera/color/image_raw/compressed', START_NS, copy),
    ]
    bag = BagFrames(write_bag(recording(make, frames) + extra))
    assert bag.topics.image == '/camera/color/image_raw'


def test_a_bag_without_depth_says_so(make, frames, write_bag, recording):
    messages = [m for m in recording(make, frames) if 'depth' not in m[0]]
    bag = BagFrames(write_bag(messages))
    assert bag.missing_depth == len(bag) == 3
    assert bag[0].depth_m is None
    assert list(bag.notes) == ['no depth: image tokens merge by appearance alone']


def test_a_bag_without_colour_is_refused(make, frames, write_bag, recording):
    messages = [m for m in recording(make, frames) if 'image_raw' not in m[0]]
    with pytest.raises(DataError, match='no colour image topic'):
        BagFrames(write_bag(messages))


def test_depth_is_paired_by_stamp(make, frames, write_bag, recording):
    messages = recording(make, frames, n=4, depth_late_ns=30_000_000)
    del messages[4]  # the second depth
    path = write_bag(sorted(messages, key=lambda m: m[1]))
    bag = BagFrames(path)
    with_depth = [frame.depth_m is not None for frame in bag]
    assert with_depth == [True, False, True, True]
    np.testing.assert_array_equal(bag[2].depth_m, frames[2].depth_m)
    assert bag.missing_depth == 1
    assert '1 of 4 images have no depth within 0.05 s' in bag.notes
    assert BagFrames(path, slop_s=0.01).missing_depth == 4


def test_headers_that_stand_still_give_way_to_the_bags_times(make, frames, write_bag, recording):
    messages = []
    for topic, received, message in recording(make, frames):
        message.header.stamp.sec = message.header.stamp.nanosec = 0
        messages.append((topic, received, message))
    bag = BagFrames(write_bag(messages))
    assert 'the headers are all stamped 0' in next(iter(bag.notes))
    np.testing.assert_allclose(np.diff(bag.stamps_s), 0.1, atol=1e-6)
    np.testing.assert_array_equal(bag[1].depth_m, frames[1].depth_m)


def test_a_played_question_goes_by_the_bags_clock(make, frames, write_bag, write_json, recording):
    """Headers that count from a start, as in a bag recorded from a simulation."""
    messages = []
    for topic, received, message in recording(make, frames):
        message.header.stamp.sec -= START_NS // 10**9
        messages.append((topic, received + 5 * 10**9, message))
    bag = BagFrames(write_bag(messages))
    asked = BagQuestions.load(write_json('q.json', [{'question': 'Q?', 'time': 0.15}]), bag)
    np.testing.assert_allclose(bag.stamps_s, [0, 0.1, 0.2])
    assert asked.asked_at(asked.questions[0]) == pytest.approx(1e9 + 5.15, abs=1e-5)


def test_an_image_that_cannot_be_read_is_left_out(make, frames, write_bag, recording):
    messages = recording(make, frames)
    messages[3] = (*messages[3][:2], make.compressed(b'no jpeg', 'jpeg', messages[3][1]))
    messages[1] = (*messages[1][:2], make.compressed(_jpeg(frames[0]), 'jpeg', messages[1][1]))
    messages[5] = (*messages[5][:2], make.compressed(_jpeg(frames[2]), 'jpeg', messages[5][1]))
    bag = BagFrames(write_bag(messages))
    assert len(bag.pick([0, 1, 2])) == 2
    assert any('cannot be read and is left out' in note for note in bag.notes)
    with pytest.raises(DataError, match='none of the 1 images'):
        bag.pick([1])


def _jpeg(frame):
    stream = io.BytesIO()
    Image.fromarray(frame.rgb).save(stream, 'JPEG')
    return stream.getvalue()


# Poses and cameras


def test_poses_follow_tf_to_its_root(make, frames, write_bag, recording):
    static = make.tf(make.transform('base', 'optical', (0, 0, 0.5), START_NS))
    messages = [('/tf_static', START_NS, static), *recording(make, frames)]
    for i in range(3):
        stamp = START_NS + i * 10**8
        moving = make.transform('odom', 'base', (i, 0, 0), stamp, yaw=np.pi / 2)
        messages.append(('/tf', stamp, make.tf(moving)))
    bag = BagFrames(write_bag(sorted(messages, key=lambda m: m[1])))
    np.testing.assert_allclose(bag[2].pose[:3, 3], [2, 0, 0.5], atol=1e-12)
    np.testing.assert_allclose(bag[2].pose[:3, 0], [0, 1, 0], atol=1e-12)


def test_an_odometry_needs_the_cameras_mount(make, frames, write_bag, recording):
    messages = recording(make, frames)
    messages += [
        ('/odom', START_NS + i * 10**8, make.odometry((i, 1, 0), START_NS + i * 10**8, 'base'))
        for i in range(3)
    ]
    messages = sorted(messages, key=lambda m: m[1])
    assert BagFrames(write_bag(messages))[1].pose is None  # nothing says where the camera is
    static = make.tf(make.transform('base', 'optical', (0, 0, 0.5), START_NS))
    bag = BagFrames(write_bag([('/tf_static', START_NS, static), *messages], name='mounted'))
    np.testing.assert_allclose(bag[1].pose[:3, 3], [1, 1, 0.5])


def test_depth_of_another_camera_is_registered(make, frames, write_bag, recording):
    """A flat wall at 2 m, seen by a depth camera 10 cm beside the colour camera."""
    own = Intrinsics(40.0, 40.0, 20.0, 11.5, 32, 24)
    messages = [m for m in recording(make, frames, n=1) if 'depth' not in m[0]]
    wall = make.image(np.full((24, 32), 2000, np.uint16), '16UC1', START_NS, 'depth_optical')
    mount = make.transform('optical', 'depth_optical', (0.1, 0, 0), START_NS)
    messages += [
        ('/camera/depth/image_raw', START_NS, wall),
        ('/camera/depth/camera_info', START_NS, make.info(own, frame='depth_optical')),
        ('/tf_static', START_NS, make.tf(mount)),
    ]
    depth = BagFrames(write_bag(messages))[0].depth_m
    # (u - 20) / 40 * 2 + 0.1 = (u' - 15.5) / 40 * 2: the first column lands at u' = -2.5.
    assert np.isnan(depth[:, 31]).all()
    np.testing.assert_allclose(depth[:, :29], 2.0)


def test_ros_1_bags(make, frames, tmp_path):
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS1_NOETIC)
    t = types.types
    frame = frames[0]
    header = t['std_msgs/msg/Header'](0, t['builtin_interfaces/msg/Time'](10**9, 5), 'optical')
    depth = np.nan_to_num(frame.depth_m * 1000).round().astype(np.uint16)
    k = frame.intrinsics.matrix()
    messages = {
        '/image_raw': t['sensor_msgs/msg/Image'](header, 24, 32, 'rgb8', 0, 96, frame.rgb.ravel()),
        '/depth': t['sensor_msgs/msg/Image'](
            header, 24, 32, '16UC1', 0, 64, depth.view(np.uint8).ravel()
        ),
        '/camera_info': t['sensor_msgs/msg/CameraInfo'](
            header=header,
            height=24,
            width=32,
            distortion_model='plumb_bob',
            D=np.zeros(5),
            K=k.ravel(),
            R=np.eye(3).ravel(),
            P=np.hstack([k, np.zeros((3, 1))]).ravel(),
            binning_x=0,
            binning_y=0,
            roi=t['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False),
        ),
    }
    path = tmp_path / 'old.bag'
    with Writer(path) as writer:
        for topic, message in messages.items():
            connection = writer.add_connection(topic, message.__msgtype__, typestore=types)
            data = types.serialize_ros1(message, message.__msgtype__)
            writer.write(connection, 10**18, data)
    bag = BagFrames(path)
    assert bag.stamps_ns == [10**18 + 5]
    np.testing.assert_array_equal(bag[0].rgb, frame.rgb)
    np.testing.assert_array_equal(bag[0].depth_m, frame.depth_m)
    assert bag[0].intrinsics == frame.intrinsics


# Memory


def test_memory_does_not_grow_with_the_bag(make, frames, write_bag):
    pixels = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    messages = (
        ('/image', START_NS + i * 10**8, make.image(pixels, 'rgb8', START_NS + i * 10**8))
        for i in range(60)
    )
    path = write_bag(messages)
    tracemalloc.start()
    bag = BagFrames(path)
    made = bag.pick([0, 30, 59])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(made) == 3
    assert peak < 12 * pixels.nbytes  # of 60 images of that size
