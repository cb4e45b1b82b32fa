"""Video streams of PyAV's encoders, as packets."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np

KEY_EVERY = 8
WIDTH, HEIGHT = 64, 48


class Packet(NamedTuple):
    """index: of its picture, in the order of time."""

    index: int
    data: bytes
    is_key: bool


def colour(index: int) -> tuple[int, int, int]:
    """The colour of a whole picture."""
    return 10 * index, 200 - 5 * index, 60


def video_packets(
    count: int,
    encoder: str = 'libx264',
    b_frames: int = 0,
    pixel_format: str = 'yuv420p',
    open_groups: bool = False,
) -> list[Packet]:
    """Pictures of one colour each, in the order of decoding; a key frame every KEY_EVERY."""
    import av

    context = av.CodecContext.create(encoder, 'w')
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, pixel_format
    context.time_base, context.framerate = Fraction(1, 10), Fraction(10)
    context.gop_size, context.max_b_frames = KEY_EVERY, b_frames
    fixed = f'keyint={KEY_EVERY}:min-keyint={KEY_EVERY}:scenecut=0:b-adapt=0:bframes={b_frames}'
    opened = f'{fixed}:open-gop={int(open_groups)}'
    context.options = {
        'libx264': {'x264-params': opened, 'crf': '10'},
        'libx265': {'x265-params': f'{opened}:log-level=none', 'crf': '10'},
        'libvpx-vp9': {'lag-in-frames': '0', 'deadline': 'realtime', 'crf': '10'},
        'libvpx': {'lag-in-frames': '0', 'deadline': 'realtime', 'crf': '10'},
        'libsvtav1': {'preset': '8', 'crf': '4', 'svtav1-params': 'pred-struct=1'},
    }.get(encoder, {})
    packets = []
    for index in range(count):
        pixels = np.broadcast_to(np.array(colour(index), np.uint8), (HEIGHT, WIDTH, 3))
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format='rgb24')
        frame = frame.reformat(format=pixel_format)
        frame.pts, frame.time_base = index, Fraction(1, 10)
        packets += context.encode(frame)
    packets += context.encode(None)
    return [Packet(packet.pts, bytes(packet), packet.is_keyframe) for packet in packets]
