"""Decodes a video's messages in a thread of its own, each in its turn; ROS-free.

A picture of a video needs those before it, so that none may be left out: where messages come
faster than they can be decoded, all that wait are dropped, and it goes on at the next key frame.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from tosa_ros.messages import ImageStream
from tosa_ros.messages.transports import transport_of

STOP_S = 1.0
MOST_WAITING = 30  # messages: a second of video


class Decoder(Protocol):
    """As `messages.video.VideoDecoder`: the images that are ready when a message comes."""

    def images(self, message: Any) -> list[Any]: ...


class DecodingThread:
    """Calls `emit(image)` in its thread, for each image that is decoded.

    make: a new decoder, at the start and after a drop. Whatever is raised goes to `on_error`.
    """

    def __init__(
        self,
        make: Callable[[], Decoder],
        emit: Callable[[Any], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._make, self._emit, self._on_error = make, emit, on_error
        self._decoder = make()
        self._wake = threading.Condition()
        self._waiting: deque[Any] = deque()
        self._stopped = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name='decoding', daemon=True)
        self._thread.start()

    def put(self, message: Any) -> None:
        """Takes the next message; returns at once."""
        with self._wake:
            if len(self._waiting) >= MOST_WAITING:
                self.dropped += len(self._waiting)
                self._waiting.clear()
                self._decoder = self._make()
            self._waiting.append(message)
            self._wake.notify()

    def stop(self, timeout_s: float) -> bool:
        """Ends the thread; False if it is busy for longer than the timeout."""
        with self._wake:
            self._stopped = True
            self._waiting.clear()
            self._wake.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting or self._stopped)
                if self._stopped:
                    return
                decoder, message = self._decoder, self._waiting.popleft()
            try:
                for image in decoder.images(message):
                    self._emit(image)
            except BaseException as error:  # A bad packet must not end the thread.
                self._on_error(error)


class ImageFeed:
    """The images of a topic, to `emit`: whole ones at once, a video's from a DecodingThread."""

    def __init__(
        self, emit: Callable[[Any], None], on_error: Callable[[BaseException], None]
    ) -> None:
        self._emit, self._on_error = emit, on_error
        self._thread: DecodingThread | None = None

    def put(self, message: Any) -> None:
        """Takes the next message; returns at once.

        Raises:
            RosError: it is no image.
        """
        if transport_of(message).decoder is None:
            self._emit(message)
            return
        if self._thread is None:
            self._thread = DecodingThread(ImageStream, self._emit, self._on_error)
        self._thread.put(message)

    def stop(self) -> None:
        """Forgets what waits; the next message begins anew."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop(STOP_S)
