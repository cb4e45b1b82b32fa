"""Video in messages: packets -> pictures, by PyAV.

A decoder keeps state. It waits for a key frame; pictures come later than their packets, and in
another order where there are B frames, so each carries the tag that came with its own packet.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any, NamedTuple

import numpy as np

from tosa_ros.errors import MissingDependencyError, RosError
from tosa_ros.messages.h264 import FrameNumbers
from tosa_ros.messages.key_frames import is_key_frame
from tosa_ros.messages.raw import BAYER_ENCODINGS, DEPTH_ENCODINGS, quoted
from tosa_ros.messages.stamps import header_of
from tosa_ros.pictures import MAX_PIXELS, check_size

# codec: what the names of its encoders have in common, hardware's too (libx264, hevc_nvenc ...)
CODECS = {
    'h264': ('h264', 'x264', 'avc'),
    'hevc': ('hevc', 'h265', 'x265'),
    'av1': ('av1',),
    'vp9': ('vp9',),
    'vp8': ('vp8',),
    'mjpeg': ('mjpeg',),
}
_DECODERS = {'av1': 'libdav1d'}  # libav's own needs hardware
MOST_LATE = 32  # packets: a decoder holds back 16 pictures at most
_KEY_FLAG = 1  # of FFMPEGPacket.flags, as libav has it


class Packet(NamedTuple):
    """A message's part of a video. encoding: of the pictures, by sensor_msgs' names."""

    codec: str
    data: bytes
    is_key: bool
    encoding: str


class Picture(NamedTuple):
    """A decoded picture, not yet in RGB, and what came with its packet."""

    tag: Any
    decoded: Any
    encoding: str

    def image(self, header: Any) -> DecodedImage:
        """The Image with this header."""
        return DecodedImage(header, self.decoded, self.encoding)


class DecodedImage:
    """A picture of a video with the fields of an Image; in RGB when its data are asked for."""

    is_bigendian = 0

    def __init__(self, header: Any, decoded: Any, encoding: str) -> None:
        self.header, self.encoding = header, encoding
        self.height, self.width = decoded.height, decoded.width
        self._grey = encoding in BAYER_ENCODINGS
        self.step = self.width * (1 if self._grey else 3)
        self._decoded = decoded

    @functools.cached_property
    def data(self) -> np.ndarray:
        """(height * step,) uint8."""
        pixels = self._decoded.to_ndarray(format='gray' if self._grey else 'rgb24')
        return np.ascontiguousarray(pixels).reshape(-1)


class VideoDecoder:
    """Decodes one stream of FFMPEGPacket, CompressedVideo or CompressedImage (h264 ...) messages.

    waiting: packets that were dropped for want of a key frame: at the start, and after a loss.
    """

    def __init__(self) -> None:
        self.waiting = 0
        self._losses = Losses()
        self._codec, self._context, self._broken = '', None, False
        self._tags: dict[int, tuple[Any, str]] = {}
        self._count = 0

    def images(self, message: Any) -> list[Any]:
        """The images that are ready when a message comes, each with its own message's header.

        Raises:
            RosError: a codec that is not in CODECS, or a packet that is damaged.
            MissingDependencyError: PyAV is not installed.
        """
        return [picture.image(picture.tag) for picture in self.feed(message, header_of(message))]

    def feed(self, message: Any, tag: Any) -> list[Picture]:
        """The pictures that are ready when a message comes, each with its own message's tag.

        Raises:
            RosError: a codec that is not in CODECS, or a packet that is damaged; the next key
                frame starts anew. `rest` has the pictures that came before it.
            MissingDependencyError: PyAV is not installed.
        """
        packet = packet_from_message(message)
        lost = self._losses.before(packet)
        ends = lost or self._broken or packet.codec != self._codec
        earlier = self.rest() if ends else []
        if self._context is None:
            if not packet.is_key:
                self.waiting += 1
                return earlier
            self._codec, self._context = packet.codec, _opened(packet.codec)
            self._tags.clear()
        self._tags[self._count] = tag, packet.encoding
        self._tags.pop(self._count - MOST_LATE, None)
        made = _av_packet(packet.data, self._count)
        self._count += 1
        return [*earlier, *self._decoded(made)]

    def rest(self) -> list[Picture]:
        """The pictures that are still inside; after that, a key frame starts anew."""
        pictures: list[Picture] = []
        if self._context is not None:
            with contextlib.suppress(RosError):
                pictures = self._decoded(None)
        self._context, self._broken = None, False
        return pictures

    def _decoded(self, packet: Any) -> list[Picture]:
        import av

        try:
            frames = self._context.decode(packet)
            for frame in frames:
                check_size(frame.width, frame.height, 'video', RosError)
        except (av.FFmpegError, ValueError) as error:
            self._broken = True
            raise RosError(
                f'video: a packet of {self._codec} cannot be decoded: {error}'
            ) from error
        pictures = []
        for frame in frames:
            tag, encoding = self._tags.pop(frame.pts, (None, ''))
            if encoding and not frame.is_corrupt:
                pictures.append(Picture(tag, frame, encoding))
        return pictures


class Losses:
    """Whether packets of a stream are missing, as far as the stream itself shows it (H.264)."""

    def __init__(self) -> None:
        self._numbers = FrameNumbers()

    def before(self, packet: Packet) -> bool:
        """Whether what this packet refers to is missing; then a key frame must come first."""
        return packet.codec == 'h264' and self._numbers.gap(packet.data, packet.is_key)


def packet_from_message(message: Any) -> Packet:
    """What a video message holds.

    Raises:
        RosError: a codec that is not in CODECS, or depth.
    """
    stated = getattr(message, 'encoding', None) or getattr(message, 'format', '')
    name, *formats = [part.strip() for part in stated.split(';')]
    codec = codec_named(name)
    if not codec:
        raise RosError(f'video: codec {quoted(name)}; wanted one of {", ".join(CODECS)}')
    # codec;libav's source format;cv_bridge's target format;the original message's
    if formats and formats[-1] in DEPTH_ENCODINGS:
        raise RosError(f'video: {quoted(stated)} is depth, which is not read from a video')
    mosaic = len(formats) == 3 and formats[1] == formats[2] and formats[1] in BAYER_ENCODINGS
    data = bytes(memoryview(message.data))
    is_key = bool(getattr(message, 'flags', 0) & _KEY_FLAG) or is_key_frame(codec, data)
    return Packet(codec, data, is_key, formats[1] if mosaic else 'rgb8')


def codec_named(name: str) -> str:
    """The codec of an encoder's or a codec's name; empty where it is none in CODECS."""
    name = name.lower()
    return next((codec for codec, parts in CODECS.items() if any(p in name for p in parts)), '')


def _av_packet(data: bytes, pts: int) -> Any:
    """A packet of PyAV's."""
    import av

    packet = av.Packet(data)
    packet.pts = pts
    return packet


def _opened(codec: str) -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError('av', 'eval', f'reading {codec} video') from error
    context = av.CodecContext.create(_DECODERS.get(codec, codec), 'r')
    # A stream says how large its pictures are; libav makes room for them before we see any.
    context.options = {'max_pixels': str(MAX_PIXELS)}
    context.thread_count = 1  # with more, pictures come later still
    return context
