"""What of a bag is taken as depth and why, whether it is registered, and its units."""

from __future__ import annotations

import numpy as np
import pytest

from tosa_ros.cli.parsing import UsageError
from tosa_ros.depth import register_depth
from tosa_ros.errors import DataError
from tosa_ros.frames import NO_DOUBT, DepthDoubt, Intrinsics
from tosa_ros.sources import open_source, read_folder
from tosa_ros.sources.bags import BagFrames, BagTopics, bag_info, bag_to_folder

pytest.importorskip('rosbags')
START_NS = 10**18
OWN = Intrinsics(40.0, 40.0, 20.0, 11.5, 32, 24)


@pytest.fixture
def colour_alone(make, frames, recording):
    """A colour image with its camera_info; more messages are added to it."""
    return [m for m in recording(make, frames, n=1) if 'depth' not in m[0]]


@pytest.fixture
def sixteen_bits(make):
    """Makes (topic, time, message) of 16 bits; two metres in millimetres."""

    def made(topic, encoding='16UC1', value=2000, frame='optical', size=(24, 32)):
        pixels = np.full(size, value, np.uint16)
        return topic, START_NS, make.image(pixels, encoding, START_NS, frame)

    return made


def said(bag, start):
    """The only note that begins so."""
    [note] = [note for note in bag.notes if note.startswith(start)]
    return note


# Which topic


@pytest.mark.parametrize(
    ('topic', 'encoding', 'word'),
    [
        ('/thermal/image_raw', 'mono16', 'thermal'),
        ('/segmentation/labels', '16UC1', 'segmentation'),
        ('/camera/infra1/image_rect_raw', '16UC1', 'infra'),
        ('/camera/depth/confidence', 'mono16', 'confidence'),
    ],
)
def test_what_its_name_denies_is_no_depth_unless_it_is_named(
    colour_alone, sixteen_bits, write_bag, topic, encoding, word
):
    path = write_bag([*colour_alone, sixteen_bits(topic, encoding)])
    bag = BagFrames(path)
    assert bag.topics.depth == 'none'
    assert bag[0].depth_m is None
    assert said(bag, topic) == (
        f'{topic} ({encoding}) is not taken as depth, because its name says {word}; '
        f'if it is depth, name it: --depth-topic {topic} of tosa replay and tosa bag'
    )
    named = BagFrames(path, BagTopics(depth=topic))
    np.testing.assert_allclose(named[0].depth_m, 2)
    assert f'({encoding}), as it was named' in said(named, f'depth is {topic}')


def test_infrared_beside_depth_leaves_one_candidate(colour_alone, sixteen_bits, write_bag):
    more = [sixteen_bits('/ir/image_raw', 'mono16', 77), sixteen_bits('/depth/image_raw')]
    bag = BagFrames(write_bag([*colour_alone, *more]))
    assert bag.topics.depth == '/depth/image_raw'
    assert said(bag, 'depth is') == (
        'depth is /depth/image_raw (16UC1), as its name and encoding say; '
        "taken as aligned to colour: it is in colour's frame 'optical'"
    )
    assert (bag[0].depth_m == 2).all()


def test_a_name_that_says_depth_goes_before_one_that_says_nothing(
    colour_alone, sixteen_bits, write_bag
):
    more = [sixteen_bits('/left/image_raw', 'mono16', 77), sixteen_bits('/stereo_depth')]
    bag = BagFrames(write_bag([*colour_alone, *more]))
    assert bag.topics.depth == '/stereo_depth'
    assert 'encoding say, unlike /left/image_raw;' in said(bag, 'depth is')


def test_a_name_that_says_nothing_is_depth_by_its_encoding_alone(
    colour_alone, sixteen_bits, write_bag
):
    bag = BagFrames(write_bag([*colour_alone, sixteen_bits('/stereo/image_raw')]))
    assert 'depth is /stereo/image_raw (16UC1), by its encoding alone;' in said(bag, 'depth is')


def test_two_depth_topics_are_asked_for_by_name(colour_alone, sixteen_bits, write_bag):
    more = [sixteen_bits('/depth/image_raw'), sixteen_bits('/depth_to_rgb/image_raw')]
    path = write_bag([*colour_alone, *more])
    with pytest.raises(DataError, match=r'2 depth image topics: .*depth_to_rgb.*--depth-topic'):
        BagFrames(path)


def test_an_infrared_picture_in_the_place_of_colour_is_said(make, sixteen_bits, write_bag):
    grey = make.image(np.full((24, 32), 9, np.uint8), 'mono8', START_NS)
    infrared = ('/camera/infra1/image_rect_raw', START_NS, grey)
    bag = BagFrames(write_bag([infrared, sixteen_bits('/camera/depth/image_rect_raw')]))
    assert said(bag, 'the image is') == (
        'the image is /camera/infra1/image_rect_raw (mono8), as there is none in colour'
    )


# Whether it is registered


def viewer_bag(path, frame_id, own, size, more=None):
    """A ROS 1 bag as RealSense Viewer writes it: colour, and depth of another camera.

    more: of its types -> further messages by topic.
    """
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS1_NOETIC)
    t = types.types
    header = t['std_msgs/msg/Header'](
        0, t['builtin_interfaces/msg/Time'](*divmod(START_NS, 10**9)), frame_id
    )

    def image(pixels, encoding):
        data = np.ascontiguousarray(pixels).view(np.uint8).ravel()
        rows, cols = pixels.shape[:2]
        return t['sensor_msgs/msg/Image'](header, rows, cols, encoding, 0, data.size // rows, data)

    def info(camera):
        k = camera.matrix()
        region = t['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
        p, r = np.hstack([k, np.zeros((3, 1))]).ravel(), np.eye(3).ravel()
        return t['sensor_msgs/msg/CameraInfo'](
            header, camera.height, camera.width, '', np.zeros(5), k.ravel(), r, p, 0, 0, region
        )

    colour = Intrinsics(40.0, 40.0, 15.5, 11.5, 32, 24)
    depth = np.full(size, 1500, np.uint16)
    depth[:, : size[1] // 2] = 1000
    stream = '/device_0/sensor_{}/{}_0'.format
    messages = {
        f'{stream(1, "Color")}/image/data': image(np.full((24, 32, 3), 99, np.uint8), 'rgb8'),
        f'{stream(1, "Color")}/info/camera_info': info(colour),
        f'{stream(0, "Depth")}/image/data': image(depth, 'mono16'),
        f'{stream(0, "Depth")}/info/camera_info': info(own),
    }
    messages |= more(t) if more else {}
    with Writer(path) as writer:
        for topic, message in messages.items():
            connection = writer.add_connection(topic, message.__msgtype__, typestore=types)
            data = types.serialize_ros1(message, message.__msgtype__)
            writer.write(connection, START_NS, data)
    return colour, depth.astype(np.float32) / 1000


@pytest.mark.parametrize('frame_id', ['0', ''])
def test_realsense_viewers_bags_are_registered_by_their_calibrations(tmp_path, frame_id):
    own = Intrinsics(30.0, 30.0, 18.0, 13.0, 36, 26)
    colour, metres = viewer_bag(tmp_path / 'rs.bag', frame_id, own, (26, 36))
    bag = BagFrames(tmp_path / 'rs.bag')
    assert bag.topics.camera_info == '/device_0/sensor_1/Color_0/info/camera_info'
    assert bag.topics.depth_camera_info == '/device_0/sensor_0/Depth_0/info/camera_info'
    frame = bag[0]
    np.testing.assert_array_equal(frame.depth_m, register_depth(metres, own, colour))
    assert frame.intrinsics == colour
    assert frame.doubts == DepthDoubt.PLACE
    note = said(bag, 'depth is')
    assert 'registered to colour by both calibrations, as if its camera were where' in note
    assert f'the frame of both is {frame_id!r}, which names none' in note


def test_realsense_viewers_extrinsics_and_units_are_used(tmp_path):
    """Each stream's tf/0 maps points of the reference, here a third stream, into its own."""

    def more(t):
        def transform(x):
            rotation = t['geometry_msgs/msg/Quaternion'](0, 0, 0, 1)
            return t['geometry_msgs/msg/Transform'](
                t['geometry_msgs/msg/Vector3'](x, 0, 0), rotation
            )

        return {
            '/device_0/sensor_0/Depth_0/tf/0': transform(-0.05),
            '/device_0/sensor_1/Color_0/tf/0': transform(0.1),
            '/device_0/sensor_0/option/Depth_Units/value': t['std_msgs/msg/Float32'](0.00025),
        }

    own = Intrinsics(30.0, 30.0, 18.0, 13.0, 36, 26)
    colour, metres = viewer_bag(tmp_path / 'rs.bag', '0', own, (26, 36), more)
    bag = BagFrames(tmp_path / 'rs.bag')
    moved = np.eye(4)
    moved[0, 3] = 0.15
    frame = bag[0]
    np.testing.assert_allclose(frame.depth_m, register_depth(metres / 4, own, colour, moved))
    assert frame.doubts == NO_DOUBT
    assert said(bag, 'depth has') == 'depth has 4000 units a metre, as its recorder wrote'
    told = BagFrames(tmp_path / 'rs.bag', depth_scale=1000)
    assert np.nanmax(told[0].depth_m) == np.float32(1.5)
    assert not any('recorder' in note for note in told.notes)


@pytest.mark.parametrize(
    ('own', 'frame', 'tf', 'doubts', 'words'),
    [
        (OWN, 'depth_optical', True, NO_DOUBT, 'both calibrations and where the two cameras are'),
        (OWN, 'optical', False, NO_DOUBT, 'registered to colour by both calibrations'),
        (OWN, 'depth_optical', False, DepthDoubt.PLACE, 'no tf connects them'),
        (None, 'optical', False, NO_DOUBT, "it is in colour's frame 'optical'"),
        (
            None,
            'depth_optical',
            False,
            DepthDoubt.ALIGNED,
            "taken as aligned to colour: depth is in the frame 'depth_optical', colour in "
            "'optical', and no tf connects them, and not both cameras have a calibration",
        ),
        (
            None,
            'depth_optical',
            True,
            DepthDoubt.ALIGNED,
            'taken as aligned to colour: its camera is elsewhere, and not both cameras have a',
        ),
    ],
)
def test_depth_is_registered_or_said_to_be_taken_as_aligned(
    make, colour_alone, sixteen_bits, write_bag, own, frame, tf, doubts, words
):
    messages = [*colour_alone, sixteen_bits('/depth/image_raw', frame=frame)]
    if own is not None:
        messages.append(('/depth/camera_info', START_NS, make.info(own, frame=frame)))
    if tf:
        mount = make.transform('optical', frame, (0.1, 0, 0), START_NS)
        messages.append(('/tf_static', START_NS, make.tf(mount)))
    bag = BagFrames(write_bag(messages))
    made = bag[0]
    assert made.doubts == doubts
    assert words in said(bag, 'depth is')
    # (u - 20) / 40 * 2 + 0.1 = (u' - 15.5) / 40 * 2: its columns land 2.5 or 4.5 to the left,
    # and each is a square that covers half of two.
    seen = np.isfinite(made.depth_m).all(0).sum()
    assert seen == (32 if own is None else 30 if tf else 28)


def test_calibrations_that_are_equal_show_that_depth_is_aligned(
    make, frames, colour_alone, sixteen_bits, write_bag
):
    camera = frames[0].intrinsics
    for _, _, message in colour_alone:
        message.header.frame_id = ''
    for frame, doubts in (('', NO_DOUBT), ('elsewhere', DepthDoubt.ALIGNED)):
        info = ('/depth/camera_info', START_NS, make.info(camera, frame=frame))
        depth = sixteen_bits('/depth/image_raw', frame=frame)
        path = write_bag([*colour_alone, depth, info], name=f'bag{frame}')
        assert BagFrames(path)[0].doubts == doubts


def test_calibrations_that_are_nowhere_near_are_found_by_their_frames(
    make, frames, colour_alone, sixteen_bits, write_bag
):
    """One of two belongs to each image; one alone is not colour's if depth's frame is its own."""
    [image] = [m for m in colour_alone if 'image' in m[0]]
    depth = sixteen_bits('/depth', frame='depth_optical')
    own = ('/calibration/b', START_NS, make.info(OWN, frame='depth_optical'))
    colours = ('/calibration/a', START_NS, make.info(frames[0].intrinsics))
    bag = BagFrames(write_bag([own, colours, image, depth], name='both'))
    assert (bag.topics.camera_info, bag.topics.depth_camera_info) == (colours[0], own[0])
    assert bag[0].doubts == DepthDoubt.PLACE
    assert bag[0].intrinsics == frames[0].intrinsics
    bag = BagFrames(write_bag([own, image, depth], name='one'))
    assert (bag.topics.camera_info, bag.topics.depth_camera_info) == ('none', own[0])
    assert bag[0].intrinsics is None
    assert bag[0].doubts == DepthDoubt.ALIGNED
    others = [(f'/{n}', START_NS, make.info(OWN, frame=f'{n}_frame')) for n in ('left', 'right')]
    path = write_bag([own, *others, image, depth], name='unknown')
    with pytest.raises(DataError, match=r'2 camera_info topics.*--camera-info-topic'):
        BagFrames(path)


# Units


def test_units_of_a_bag(colour_alone, sixteen_bits, write_bag, tmp_path):
    """Depth in tenths of a millimetre: said to be doubtful, and right when it is told."""
    path = write_bag([*colour_alone, sixteen_bits('/depth/image_raw', value=21000)])
    guessed = BagFrames(path)
    np.testing.assert_allclose(guessed[0].depth_m, 21)
    assert guessed[0].doubts == DepthDoubt.SCALE
    assert said(guessed, 'the median') == (
        'the median of the first depth image is 21 m, outside of 0.25 to 8 m, which is unusual in '
        'a room: is a scale of 1000 units a metre (--depth-scale) right?'
    )
    told = open_source(path, 10000)
    np.testing.assert_allclose(told[0].depth_m, 2.1)
    assert told[0].doubts == NO_DOUBT
    assert not any('median' in note for note in told.notes)
    bag_to_folder(told, tmp_path / 'folder')
    back = read_folder(tmp_path / 'folder', depth_scale=10000)
    np.testing.assert_array_equal(back[0].depth_m, told[0].depth_m)
    with pytest.raises(DataError, match='depth of 16 bits, 1000 units a metre'):
        bag_to_folder(guessed, tmp_path / 'other', depth_scale=500)


@pytest.mark.parametrize('metres', [0.1, 9.5])
def test_depth_far_from_a_rooms_is_doubted_and_used(make, colour_alone, write_bag, metres):
    pixels = np.full((24, 32), metres, np.float32)
    depth = ('/depth/image_raw', START_NS, make.image(pixels, '32FC1', START_NS))
    bag = open_source(write_bag([*colour_alone, depth]), 5000)
    assert said(bag, 'the median').endswith('is its scale right?')
    assert said(bag, 'depth scale') == (
        'depth scale 5000 changes nothing: /depth/image_raw is in metres'
    )
    np.testing.assert_allclose(bag[0].depth_m, metres)
    assert bag_info(bag)['depth_scale'] is None


def test_the_largest_value_of_16_bits_is_missing(make, colour_alone, write_bag):
    raw = np.full((24, 32), 1500, np.uint16)
    raw[:12] = 65535
    messages = [*colour_alone, ('/depth/image_raw', START_NS, make.image(raw, '16UC1', START_NS))]
    own = make.info(OWN)
    for name, more in (('plain', []), ('moved', [('/depth/camera_info', START_NS, own)])):
        frame = BagFrames(write_bag([*messages, *more], name=name))[0]
        assert np.nanmax(frame.depth_m) == np.float32(1.5)
        assert np.isnan(frame.depth_m[:12]).all()


# The command


def test_the_info_command(colour_alone, sixteen_bits, write_bag, command, capsys):
    path = write_bag([*colour_alone, sixteen_bits('/seg/labels'), sixteen_bits('/cam/depth')])
    assert command('bag', 'info', path) == 0
    out = capsys.readouterr().out
    for line in (
        '1 images in 0.000 s',
        'depth: /cam/depth',
        'depth_scale: 1000 units a metre',
        'note: depth is /cam/depth (16UC1), as its name and encoding say; taken as aligned to',
        'note: /seg/labels (16UC1) is not taken as depth, because its name says seg;',
        '  /seg/labels: 1 sensor_msgs/msg/Image',
    ):
        assert line in out
    assert command('bag', 'info', path, '--depth-topic', '/seg/labels', '--json') == 0
    assert '"depth": "/seg/labels"' in capsys.readouterr().out


def test_the_commands_take_the_units_of_a_bag(
    colour_alone, sixteen_bits, write_bag, write_json, command, tmp_path, capsys
):
    path = write_bag([*colour_alone, sixteen_bits('/cam/depth', value=21000)])
    assert command('bag', 'to-episode', path, '--out', tmp_path / 'a', '--depth-scale', 1e4) == 0
    assert '10000 units a metre: --depth-scale 10000 reads them' in capsys.readouterr().err
    frame = read_folder(tmp_path / 'a', depth_scale=10000)[0]
    np.testing.assert_allclose(frame.depth_m, 2.1)
    data = write_json('q.jsonl', {'episode': 'bag', 'question': 'What?', 'answer': 'a cup'})
    survey = ('eval', 'jsonl', '--data', data, '--dry-run')
    assert command(*survey) == 0
    out = capsys.readouterr().out
    assert 'depth is /cam/depth (16UC1)' in out
    assert 'the median of the first depth image is 21 m' in out
    assert command(*survey, '--depth-scale', 10000) == 0
    assert 'median' not in capsys.readouterr().out


def test_a_scale_of_metres_is_refused(make, colour_alone, write_bag, command):
    pixels = np.full((24, 32), 2, np.float32)
    depth = ('/cam/depth', START_NS, make.image(pixels, '32FC1', START_NS))
    path = write_bag([*colour_alone, depth])
    with pytest.raises(UsageError, match='--depth-scale changes nothing: /cam/depth is in metres'):
        command('bag', 'info', path, '--depth-scale', 500)
