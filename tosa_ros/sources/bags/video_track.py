"""The pictures of a bag's video: each decoded when asked for, from the key frame before it."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from tosa_ros.errors import DataError, RosError
from tosa_ros.messages.stamps import header_of
from tosa_ros.messages.transports import transport_of
from tosa_ros.messages.video import (
    MOST_LATE,
    Losses,
    Packet,
    VideoDecoder,
    packet_from_message,
)

UNREADABLE = Packet(codec='', data=b'', is_key=False, encoding='')
_MOST_KEPT = 24  # decoded pictures that wait to be asked for


class VideoTracks:
    """The videos among a bag's topics.

    notes: what is said of pictures that cannot be decoded.
    """

    def __init__(self, notes: Counter[str]) -> None:
        self._notes = notes
        self._tracks: dict[str, VideoTrack | None] = {}
        # By topic, and whether a key frame had come.
        self._undecodable: Counter[tuple[str, bool]] = Counter()

    def takes(self, bag: Any, connection: Any, stamp: int, received: int, data: Any) -> bool:
        """Takes note of an image's message; False if no picture can come of it."""
        topic = connection.topic
        if topic in self._tracks and self._tracks[topic] is None:
            return True
        message = bag.deserialize(data, connection.msgtype)
        if topic not in self._tracks:
            is_video = transport_of(message).decoder is not None
            self._tracks[topic] = VideoTrack(topic) if is_video else None
        track = self._tracks[topic]
        if track is None:
            return True
        try:
            packet = packet_from_message(message)
        except RosError as error:
            self._notes[f'{topic}: {error}'] = 1
            packet = UNREADABLE
        if track.add(stamp, received, packet):
            return True
        self._undecodable[topic, track.begun] += 1
        return False

    def note_losses(self) -> None:
        """Says how many pictures are lost for want of a key frame, after all were seen."""
        for (topic, begun), count in self._undecodable.items():
            why = 'after a lost packet' if begun else 'before the first key frame'
            self._notes[f'{count} images of {topic} come {why} of the video and are left out'] = 1

    def track(self, topic: str) -> VideoTrack | None:
        """The video on a topic, if it is one."""
        return self._tracks.get(topic)


class VideoTrack:
    """One stream's packets, from its first key frame on."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._losses, self._intact = Losses(), False
        self._received: list[int] = []
        # When the bag got it (ns): stamp and place of each packet that came then.
        self._at: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._keys: list[int] = []
        self._bag: Any = None
        self._packets: Iterator[tuple[Any, int, Any]] = iter(())
        self._next = 0
        self._decoder = VideoDecoder()
        self._ready: dict[int, tuple[Any, Any]] = {}

    @property
    def begun(self) -> bool:
        """Whether a key frame has come."""
        return bool(self._keys)

    def add(self, stamp: int, received: int, packet: Packet) -> bool:
        """Takes note of a packet; False where what it refers to is missing."""
        lost = packet is UNREADABLE or self._losses.before(packet)
        self._intact = packet.is_key or (self._intact and not lost)
        index = len(self._received)
        if packet.is_key:
            self._keys.append(index)
        # Once it has begun, all count: each is fed to the decoder in its turn.
        if self._keys:
            self._received.append(received)
            self._at[received].append((stamp, index))
        return self._intact

    def image(self, bag: Any, stamp: int, received: int) -> Any:
        """The Image of the packet of these times (ns).

        Raises:
            DataError: it cannot be decoded.
        """
        index = self._index(stamp, received)
        key = bisect_right(self._keys, index) - 1
        fault = 'no picture came of it'
        for start in self._starts(bag, key, index):
            if start is not None:
                self._restart(bag, self._keys[start])
            try:
                self._decode_to(index)
            except RosError as error:
                fault = str(error)
                self._keep(self._decoder.rest())
            if index in self._ready:
                picture, header = self._ready[index]
                return picture.image(header)
        raise DataError(f'{self._topic}: a picture of the video cannot be decoded: {fault}')

    def _index(self, stamp: int, received: int) -> int:
        came = self._at[received]
        return next((index for its, index in came if its == stamp), came[0][1])

    def _starts(self, bag: Any, key: int, index: int) -> list[int | None]:
        """The key frames to begin at, one after another; None: go on from where the decoder is."""
        near = self._keys[key] <= self._next <= index + MOST_LATE
        going_on = [None] if index in self._ready or (self._bag is bag and near) else []
        # B frames that lead a key frame need the one before it.
        return [*going_on, key, *([key - 1] if key else [])]

    def _restart(self, bag: Any, packet: int) -> None:
        connections = [c for c in bag.connections if c.topic == self._topic]
        self._bag, self._decoder, self._next = bag, VideoDecoder(), packet
        self._ready.clear()
        received = self._received[packet]
        self._packets = bag.messages(connections, received)
        for _ in range(packet - self._at[received][0][1]):  # those that came at the same time
            next(self._packets)

    def _decode_to(self, index: int) -> None:
        """Feeds the decoder until the packet's picture is ready, or cannot come any more."""
        while index not in self._ready and self._next <= index + MOST_LATE:
            connection, received, data = next(self._packets, (None, 0, None))
            if connection is None:
                self._bag = None
                self._keep(self._decoder.rest())
                return
            if self._received[self._next : self._next + 1] != [received]:
                raise DataError(f'{self._topic}: the packets of the video are in another order')
            message = self._bag.deserialize(data, connection.msgtype)
            tag = self._next, header_of(message)
            self._next += 1
            self._keep(self._decoder.feed(message, tag))

    def _keep(self, pictures: list[Any]) -> None:
        for picture in pictures:
            index, header = picture.tag
            self._ready[index] = picture, header
        for index in list(self._ready)[:-_MOST_KEPT]:
            del self._ready[index]
