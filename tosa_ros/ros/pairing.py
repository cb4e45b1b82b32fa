"""Finds the depth image that belongs to a colour image, by stamp; ROS-free.

Depth may come before colour or well after it (an estimator needs time), at another rate, or
not at all. The newest pair wins, older images are forgotten.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

BUFFERED_IMAGES = 300  # 10 s at 30 Hz, where depth_timeout_s is as long.
JUMP_BACK_S = 1.0


class Pair(NamedTuple):
    """A colour item and its depth; depth is None where waiting for it has ended."""

    colour: Any
    depth: Any | None


class Pairing:
    """Matches colour with the depth nearest in stamp, at most `slop_s` away.

    Colour waits for its depth for `timeout_s` (by a monotonic clock, `now`) without a match; then
    it goes alone, and so do those after it, at once, until depth matches again. A stamp more
    than a second older than its predecessor means that time was set back (a bag that
    loops, a simulation restarted), and everything remembered is forgotten.
    """

    def __init__(self, slop_s: float, timeout_s: float, use_depth: bool = True) -> None:
        self.slop_s, self.timeout_s, self.use_depth = slop_s, timeout_s, use_depth
        self._images: dict[str, deque[tuple[int, Any]]] = {
            name: deque(maxlen=BUFFERED_IMAGES) for name in ('colour', 'depth')
        }
        self._newest_ns: dict[str, int] = {}
        self._emitted_ns: int | None = None
        self._waiting_since = 0.0
        self._given_up = False
        self._depth_came: float | None = None
        self._alone: deque[tuple[int, float]] = deque(maxlen=BUFFERED_IMAGES)

    def add_colour(self, stamp_ns: int, item: Any, now: float) -> Pair | None:
        """Takes a colour image; gives the frame that is now complete, if any."""
        if not self._images['colour'] and not self._given_up:
            self._waiting_since = now
        self._insert('colour', stamp_ns, item)
        return self._complete(now, lambda colour_ns: colour_ns == stamp_ns)

    def add_depth(self, stamp_ns: int, item: Any, now: float) -> Pair | None:
        """Takes a depth image; gives the frame that is now complete, if any."""
        self._depth_came = now
        self._insert('depth', stamp_ns, item)
        late = (stamp for stamp, went in self._alone if self._fresh(went, now))
        if any(self._match(stamp, stamp_ns) for stamp in late):
            # Depth is back: its colour went alone a moment ago, the next one waits for it.
            self._waiting_since, self._given_up = now, False
        return self._complete(now, lambda colour_ns: self._match(colour_ns, stamp_ns))

    def trouble(self, now: float) -> str:
        """Why colour goes on without depth, in one line; empty while depth is found or awaited."""
        if not self.use_depth or not self._overdue(now):
            return ''
        if self._depth_came is None or not self._fresh(self._depth_came, now):
            return f'no depth for {self.timeout_s:g} s: image tokens merge by appearance alone'
        return (
            f'depth arrives, but none within {self.slop_s:g} s of a colour image at most '
            f'{self.timeout_s:g} s old: image tokens merge by appearance alone (see sync_slop_s; '
            'depth_timeout_s if depth is slow)'
        )

    def _overdue(self, now: float) -> bool:
        waits = self._given_up or bool(self._images['colour'])
        return waits and not self._fresh(self._waiting_since, now)

    def _fresh(self, when: float, now: float) -> bool:
        return now - when <= self.timeout_s

    def _match(self, colour_ns: int, depth_ns: int) -> bool:
        return abs(colour_ns - depth_ns) <= self.slop_s * 1e9

    def _insert(self, name: str, stamp_ns: int, item: Any) -> None:
        if stamp_ns < self._newest_ns.get(name, stamp_ns) - JUMP_BACK_S * 1e9:
            self._set_back()
        if name == 'colour' and self._emitted_ns is not None and stamp_ns < self._emitted_ns:
            return
        self._newest_ns[name] = max(stamp_ns, self._newest_ns.get(name, stamp_ns))
        images = self._images[name]
        newer = []
        while images and images[-1][0] > stamp_ns:
            newer.append(images.pop())
        images.append((stamp_ns, item))
        images.extend(reversed(newer))
        while images[0][0] < images[-1][0] - max(self.timeout_s, JUMP_BACK_S) * 1e9:
            images.popleft()

    def _set_back(self) -> None:
        self._emitted_ns = None
        self._newest_ns.clear()
        self._alone.clear()
        for images in self._images.values():
            images.clear()

    def _complete(self, now: float, concerned: Callable[[int], bool]) -> Pair | None:
        """The newest pair there is now, of the colour stamps that the new image concerns."""
        if not self.use_depth and self._images['colour']:
            stamp_ns, colour = self._images['colour'][-1]
            return self._emit(stamp_ns, Pair(colour, None))
        for stamp_ns, colour in reversed(self._images['colour']):
            if not concerned(stamp_ns):
                continue
            depth = min(
                self._images['depth'], key=lambda one: abs(one[0] - stamp_ns), default=None
            )
            if depth is not None and self._match(stamp_ns, depth[0]):
                self._waiting_since, self._given_up = now, False
                return self._emit(stamp_ns, Pair(colour, depth[1]))
        if self._images['colour'] and self._overdue(now):
            stamp_ns, colour = self._images['colour'][-1]
            self._alone.append((stamp_ns, now))
            self._given_up = True
            return self._emit(stamp_ns, Pair(colour, None))
        return None

    def _emit(self, stamp_ns: int, pair: Pair) -> Pair:
        """Forgets colour up to this stamp, and depth too old for any colour after it."""
        self._emitted_ns = stamp_ns
        colour, depth = self._images['colour'], self._images['depth']
        while colour and colour[0][0] <= stamp_ns:
            colour.popleft()
        while depth and depth[0][0] < stamp_ns - self.slop_s * 1e9:
            depth.popleft()
        return pair
