"""Video in bags: FFMPEGPacket and CompressedVideo, in order, at random and from the middle."""

from __future__ import annotations

import numpy as np
import pytest
from mcaps import Channel, write_mcap
from videos import KEY_EVERY, colour, video_packets

from tosa_ros.errors import DataError
from tosa_ros.sources.bags import BagFrames, bag_to_folder
from tosa_ros.sources.bags.definitions import standard_types

pytest.importorskip('rosbags')
pytest.importorskip('av')
START_NS = 10**18
COUNT = 30
FFMPEG = 'ffmpeg_image_transport_msgs/msg/FFMPEGPacket'
FOXGLOVE = 'foxglove_msgs/msg/CompressedVideo'
TOPICS = {FFMPEG: '/camera/image_raw/ffmpeg', FOXGLOVE: '/camera/image_raw/foxglove'}
_TIME = '=' * 80 + '\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n'
DEFINITIONS = {
    FFMPEG: (
        'std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\n'
        'uint8 flags\nbool is_bigendian\nuint8[] data\n'
        + '=' * 80 + '\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n'
        + _TIME
    ),
    FOXGLOVE: (
        'builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n' + _TIME
    ),
}  # fmt: skip


def message(kind, packet, encoding='h264'):
    store = standard_types()
    stamp = START_NS + packet.index * 10**8
    types = store.types
    header = types['std_msgs/msg/Header'](
        types['builtin_interfaces/msg/Time'](*divmod(stamp, 10**9)), 'optical'
    )
    data = np.frombuffer(packet.data, np.uint8)
    if kind == FFMPEG:
        made = types[kind](
            header, 64, 48, f'{encoding};yuv420p;bgr8;rgb8', packet.index, int(packet.is_key),
            False, data,
        )  # fmt: skip
    else:
        made = types[kind](header, data, encoding)
    return bytes(store.serialize_cdr(made, kind))


@pytest.fixture
def video_bag(tmp_path):
    def write(packets, kind=FFMPEG, defined=True, encoding='h264', odd=()):
        channel = Channel(
            TOPICS[kind], kind, definition=DEFINITIONS[kind].encode() if defined else b''
        )
        messages = [
            (
                0,
                START_NS + place * 10**8,
                message(kind, packet, 'odd' if place in odd else encoding),
            )
            for place, packet in enumerate(packets)
        ]
        return write_mcap(tmp_path / 'video.mcap', [channel], messages)

    return write


def assert_is(frame, index):
    np.testing.assert_allclose(frame.rgb.mean(axis=(0, 1)), np.clip(colour(index), 0, 255), atol=6)
    assert frame.stamp == pytest.approx(START_NS * 1e-9 + index / 10, abs=1e-3)


@pytest.mark.parametrize('defined', [True, False])
@pytest.mark.parametrize('b_frames', [0, 2])
@pytest.mark.parametrize('kind', [FFMPEG, FOXGLOVE])
def test_a_video_is_read_in_order_and_at_random(video_bag, kind, b_frames, defined):
    bag = BagFrames(video_bag(video_packets(25, b_frames=b_frames), kind, defined))
    assert bag.topics.image == TOPICS[kind]
    assert len(bag) == 25
    for index, frame in enumerate(bag):
        assert_is(frame, index)
    for index in (20, 3, 3, 24, 0, 15, 7):
        assert_is(bag[index], index)
    for index, frame in zip((22, 1, 9), bag.pick([22, 1, 9]), strict=True):
        assert_is(frame, index)
    assert not any('read' in note for note in bag.notes)


@pytest.mark.parametrize('b_frames', [0, 2])
def test_depth_beside_a_video_is_paired_by_stamp(tmp_path, b_frames, make, types):
    packets = video_packets(20, b_frames=b_frames)
    channels = [
        Channel(TOPICS[FFMPEG], FFMPEG, definition=DEFINITIONS[FFMPEG].encode()),
        Channel('/camera/depth/image_raw', 'sensor_msgs/msg/Image'),
    ]
    messages = []
    for place, packet in enumerate(packets):
        stamp = START_NS + place * 10**8
        depth = make.image(np.full((48, 64), 1000 + place, np.uint16), '16UC1', stamp)
        data = bytes(types.serialize_cdr(depth, depth.__msgtype__))
        messages += [(0, stamp, message(FFMPEG, packet)), (1, stamp, data)]
    bag = BagFrames(write_mcap(tmp_path / 'rgbd.mcap', channels, messages))
    assert bag.missing_depth == 0
    for index, frame in enumerate(bag):
        assert_is(frame, index)
        assert (frame.depth_m == np.float32(1 + index / 1000)).all()


def test_pictures_that_lead_an_open_group_come_from_the_group_before(video_bag):
    packets = video_packets(25, 'libx265', b_frames=2, open_groups=True)
    bag = BagFrames(video_bag(packets, encoding='hevc'))
    for index in (6, 7, 14, 15, 23, 2):
        assert_is(bag[index], index)


def test_frames_before_the_first_key_frame_are_left_out_and_said(video_bag):
    bag = BagFrames(video_bag(video_packets(20)[3:], FOXGLOVE))
    assert len(bag) == 20 - KEY_EVERY
    assert_is(bag[0], KEY_EVERY)
    assert any(note.startswith('5 images of /camera/image_raw/foxglove') for note in bag.notes)


def test_a_damaged_packet_costs_its_group_alone(video_bag):
    packets = video_packets(24)
    packets[10] = packets[10]._replace(data=packets[10].data[:12])
    bag = BagFrames(video_bag(packets))
    frames = bag.pick(range(24))
    stamps = [round((frame.stamp - START_NS * 1e-9) * 10) for frame in frames]
    assert stamps == [*range(10), *range(16, 24)]
    for index, frame in zip(stamps, frames, strict=True):
        assert_is(frame, index)
    assert sum(count for note, count in bag.notes.items() if 'cannot be decoded' in note) == 6


def test_a_lost_packet_costs_the_rest_of_its_group_and_is_said(video_bag):
    packets = video_packets(24)
    bag = BagFrames(video_bag(packets[:10] + packets[11:], FOXGLOVE))
    assert len(bag) == 18
    for index, frame in zip([*range(10), *range(16, 24)], bag, strict=True):
        assert_is(frame, index)
    assert any('5 images of /camera/image_raw/foxglove come after a lost' in n for n in bag.notes)
    assert_is(bag[17], 23)
    assert_is(bag[3], 3)


def test_a_video_without_key_frame_is_refused_with_the_reason(video_bag):
    with pytest.raises(DataError, match=r'no image on .* can be read .*first key frame'):
        BagFrames(video_bag(video_packets(8)[1:]))


def test_a_packet_of_another_codec_costs_its_group_alone(video_bag):
    bag = BagFrames(video_bag(video_packets(24), odd=(10, 23)))
    assert len(bag) == 17
    for index, frame in zip([*range(10), *range(16, 23)], bag, strict=True):
        assert_is(frame, index)
    assert any("codec 'odd'" in note for note in bag.notes)


def test_a_codec_that_is_not_read_is_named(video_bag):
    with pytest.raises(DataError, match=r"no image on .* can be read .*codec 'theora'"):
        BagFrames(video_bag(video_packets(8), encoding='theora'))


def test_a_video_becomes_a_folder(video_bag, tmp_path):
    bag = BagFrames(video_bag(video_packets(6, b_frames=2)))
    assert bag_to_folder(bag, tmp_path / 'folder') == 6
    assert len(list((tmp_path / 'folder').glob('*-rgb.png'))) == 6
