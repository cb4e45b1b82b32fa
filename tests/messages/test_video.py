"""Video in messages: real streams of PyAV's encoders, with B frames, losses and damage."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from videos import KEY_EVERY, colour, video_packets

from tosa_ros.errors import MissingDependencyError, RosError
from tosa_ros.messages import (
    FrameBuilder,
    ImageStream,
    depth_from_message,
    rgb_from_message,
)
from tosa_ros.messages.h264 import FrameNumbers
from tosa_ros.messages.key_frames import is_key_frame
from tosa_ros.messages.transports import is_depth, transport_of
from tosa_ros.messages.video import VideoDecoder, codec_named

pytest.importorskip('av')
COUNT = 20


def header(index):
    return SimpleNamespace(stamp=SimpleNamespace(sec=index, nanosec=0), frame_id='optical')


def ffmpeg(packet, encoding='h264;yuv420p;bgr8;rgb8', flags=None):
    return SimpleNamespace(
        header=header(packet.index),
        encoding=encoding,
        pts=packet.index,
        flags=int(packet.is_key) if flags is None else flags,
        data=np.frombuffer(packet.data, np.uint8),
    )


def foxglove(packet, kind='h264'):
    at = header(packet.index)
    return SimpleNamespace(timestamp=at.stamp, frame_id='optical', format=kind, data=packet.data)


def decoded(messages):
    """Stamp -> mean colour of every image that comes out, and the decoder."""
    decoder, seen = VideoDecoder(), {}
    images = [image for message in messages for image in decoder.images(message)]
    images += [picture.image(picture.tag) for picture in decoder.rest()]
    for image in images:
        seen[image.header.stamp.sec] = rgb_from_message(image).mean(axis=(0, 1))
    return seen, decoder


def assert_are(seen, indices):
    """video_packets' pictures are of one colour each, by their place."""
    assert sorted(seen) == list(indices)
    for index, seen_colour in seen.items():
        np.testing.assert_allclose(seen_colour, colour(index), atol=6)


@pytest.mark.parametrize('b_frames', [0, 2])
@pytest.mark.parametrize('codec', ['libx264', 'libx265'])
@pytest.mark.parametrize('make', [ffmpeg, foxglove])
def test_every_picture_comes_with_its_own_stamp(codec, b_frames, make):
    packets = video_packets(COUNT, codec, b_frames)
    assert ([p.index for p in packets] != list(range(COUNT))) == bool(b_frames)
    seen, _ = decoded(make(packet, codec.replace('libx', 'h')) for packet in packets)
    assert_are(seen, range(COUNT))


@pytest.mark.parametrize(
    ('codec', 'encoder'),
    [('h264', 'libx264'), ('hevc', 'libx265'), ('vp9', 'libvpx-vp9'), ('vp8', 'libvpx'),
     ('av1', 'libsvtav1')],
)  # fmt: skip
def test_key_frames_are_known_by_their_bytes(codec, encoder):
    import av

    if encoder not in av.codecs_available:
        pytest.skip(f'this PyAV has no {encoder}')
    packets = video_packets(COUNT, encoder)
    assert [is_key_frame(codec, p.data) for p in packets] == [p.is_key for p in packets]
    assert sum(p.is_key for p in packets) > 0
    seen, _ = decoded(foxglove(packet, codec) for packet in packets)
    assert_are(seen, range(COUNT))


def test_pictures_wait_for_a_key_frame():
    packets = video_packets(COUNT)
    keys = [i for i, packet in enumerate(packets) if packet.is_key]
    assert keys == [0, 8, 16]
    seen, decoder = decoded(foxglove(packet) for packet in packets[3:])
    assert_are(seen, range(8, COUNT))
    assert decoder.waiting == 5
    # The flags of a packet count too: some encoders mark key frames that are no IDR.
    seen, decoder = decoded(ffmpeg(packet, flags=0) for packet in packets)
    assert_are(seen, range(COUNT))


@pytest.mark.parametrize('b_frames', [0, 2])
def test_a_lost_packet_costs_what_refers_to_it(b_frames):
    """libav would show smeared pictures in its place."""
    packets = video_packets(COUNT, b_frames=b_frames)
    for place in range(1, KEY_EVERY):
        kept = packets[:place] + packets[place + 1 :]
        seen, decoder = decoded(foxglove(packet) for packet in kept)
        assert_are(seen, sorted(seen))
        referred = {packet.index for packet in packets[:place]} | set(range(KEY_EVERY, COUNT))
        assert referred <= set(seen)
        assert len(seen) + decoder.waiting == COUNT - 1
    lost = [i for i in range(COUNT) if i not in seen]
    assert lost == [packets[KEY_EVERY - 1].index]


def test_frame_numbers_that_are_damaged_stop_nothing():
    numbers, draws = FrameNumbers(), np.random.default_rng(0)
    for packet in video_packets(COUNT):
        assert not numbers.gap(packet.data, packet.is_key)
        for size in (5, 8, 12, 60):
            head = packet.data[: draws.integers(4, 9)]
            FrameNumbers().gap(head + draws.bytes(size), False)
            numbers_too = FrameNumbers()
            numbers_too.gap(b'\0\0\1\x67' + draws.bytes(size), True)
            numbers_too.gap(b'\0\0\1\x61' + draws.bytes(size), False)


def test_a_damaged_packet_costs_what_comes_before_the_next_key_frame():
    packets = video_packets(COUNT)
    decoder, seen, faults = VideoDecoder(), [], []
    for index, packet in enumerate(packets):
        message = foxglove(packet._replace(data=packet.data[:12]) if index == 4 else packet)
        try:
            seen += [image.header.stamp.sec for image in decoder.images(message)]
        except RosError as error:
            faults.append(str(error))
    seen += [picture.tag.stamp.sec for picture in decoder.rest()]
    assert len(faults) == 1
    assert 'h264 cannot be decoded' in faults[0]
    assert set(range(8, COUNT)) <= set(seen)
    assert not {4, 5, 6, 7} & set(seen)


def test_the_table_knows_video_and_that_it_is_no_whole_image():
    [packet] = video_packets(1)
    for message, name in ((ffmpeg(packet), 'ffmpeg'), (foxglove(packet), 'foxglove')):
        assert transport_of(message).name == name
        assert transport_of(message).decoder is VideoDecoder
        assert not is_depth(message)
        with pytest.raises(RosError, match='is a part of a video, not a whole image'):
            rgb_from_message(message)
        with pytest.raises(RosError, match='carries no depth'):
            depth_from_message(message)
    assert transport_of(SimpleNamespace(format='h265', data=b'')).name == 'foxglove'
    assert transport_of(SimpleNamespace(format='mjpeg', data=b'')).name == 'compressed'
    deep = ffmpeg(packet, 'hevc;gray12le;mono16;16UC1')
    assert is_depth(deep)
    with pytest.raises(RosError, match='is depth, which is not read from a video'):
        VideoDecoder().images(deep)


@pytest.mark.parametrize(
    ('name', 'codec'),
    [
        ('h264', 'h264'), ('libx264', 'h264'), ('h264_nvenc', 'h264'), ('H264', 'h264'),
        ('hevc', 'hevc'), ('h265', 'hevc'), ('hevc_vaapi', 'hevc'), ('libx265', 'hevc'),
        ('av1', 'av1'), ('libsvtav1', 'av1'), ('vp9', 'vp9'), ('png', ''), ('', ''),
    ],
)  # fmt: skip
def test_codecs_go_by_many_names(name, codec):
    assert codec_named(name) == codec


def test_a_topics_images_come_whole_or_decoded():
    packets, stream = video_packets(COUNT, b_frames=2), ImageStream()
    whole = SimpleNamespace(encoding='rgb8')
    assert stream.images(whole) == [whole]
    images = [image for packet in packets for image in stream.images(ffmpeg(packet))]
    assert [image.header.stamp.sec for image in images] == list(range(len(images)))
    assert len(images) >= COUNT - 4
    last = images[-1]
    assert (last.width, last.height, last.step, last.encoding) == (64, 48, 192, 'rgb8')
    frame = FrameBuilder(lambda what, line: None).frame(last, None)
    np.testing.assert_allclose(frame.rgb.mean(axis=(0, 1)), colour(len(images) - 1), atol=6)


def test_a_mosaic_in_a_video_is_a_mosaic():
    packets = video_packets(3, pixel_format='gray')
    images = VideoDecoder()
    made = [
        i for p in packets for i in images.images(ffmpeg(p, 'h264;gray;bayer_rggb8;bayer_rggb8'))
    ]
    assert {image.encoding for image in made} == {'bayer_rggb8'}
    assert {image.step for image in made} == {made[0].width}


def test_a_codec_that_is_not_in_the_table_is_named():
    [packet] = video_packets(1)
    with pytest.raises(RosError, match="codec 'theora'; wanted one of h264, hevc"):
        VideoDecoder().images(ffmpeg(packet, 'theora;yuv420p;bgr8;bgr8'))


def test_a_stream_that_says_it_is_huge_is_refused(monkeypatch):
    monkeypatch.setattr('tosa_ros.messages.video.MAX_PIXELS', 1000)
    [packet] = video_packets(1)
    with pytest.raises(RosError, match='cannot be decoded'):
        VideoDecoder().images(ffmpeg(packet))


def test_without_pyav_one_line_says_what_to_install(monkeypatch):
    [packet] = video_packets(1)
    monkeypatch.setitem(__import__('sys').modules, 'av', None)
    with pytest.raises(MissingDependencyError, match=r'reading h264 video needs the package av'):
        VideoDecoder().images(ffmpeg(packet))
