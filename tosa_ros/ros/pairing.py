"""Finds the depth image that belongs to a colour image, by stamp; ROS-free.

Depth may come before colour or well after it (an estimator needs time), at another rate, or
not at all. The newest pair wins, older images are forgotten.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

BUFFERED_IMAGES = 300  # 10 s at 30 Hz, where depth_timeout_s is as long.
JUMP_BACK_S = 1.0
PERIODS = 4  # of depth, of which the shortest is the time until the next one


class Pair(NamedTuple):
    """A colour item and its depth; depth is None where waiting for it has ended."""

    colour: Any
    depth: Any | None


@dataclass(eq=False)
class _Image:
    stamp_ns: int
    item: Any
    used_ns: float = float('inf')  # Of depth: how far the colour is that it was used for.


class Pairing:
    """Matches colour with the depth nearest in stamp, at most `slop_s` away.

    Colour waits as long as a nearer depth may still come: the next one is due a period after
    the last. One depth serves one colour image, the nearest to it.

    Colour waits for its depth for `timeout_s` (by a monotonic clock, `now`) without a match; then
    it goes alone, and so do those after it, at once, until depth matches again. A stamp more
    than a second older than its predecessor means that time was set back (a bag that
    loops, a simulation restarted), and everything remembered is forgotten.
    """

    def __init__(self, slop_s: float, timeout_s: float, use_depth: bool = True) -> None:
        self.slop_s, self.timeout_s, self.use_depth = slop_s, timeout_s, use_depth
        self._images: dict[str, deque[_Image]] = {
            name: deque(maxlen=BUFFERED_IMAGES) for name in ('colour', 'depth')
        }
        self._newest_ns: dict[str, int] = {}
        self._depth_stamps: deque[int] = deque(maxlen=PERIODS + 1)
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
        return self._complete(now)

    def add_depth(self, stamp_ns: int, item: Any, now: float) -> Pair | None:
        """Takes a depth image; gives the frame that is now complete, if any."""
        self._depth_came = now
        self._depth_stamps.append(stamp_ns)
        self._insert('depth', stamp_ns, item)
        late = (stamp for stamp, went in self._alone if self._fresh(went, now))
        if any(abs(stamp - stamp_ns) <= self._slop_ns for stamp in late):
            # Depth is back: its colour went alone a moment ago, the next one waits for it.
            self._waiting_since, self._given_up = now, False
        return self._complete(now)

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

    @property
    def _slop_ns(self) -> float:
        return self.slop_s * 1e9

    def _overdue(self, now: float) -> bool:
        waits = self._given_up or bool(self._images['colour'])
        return waits and not self._fresh(self._waiting_since, now)

    def _fresh(self, when: float, now: float) -> bool:
        return now - when <= self.timeout_s

    def _insert(self, name: str, stamp_ns: int, item: Any) -> None:
        if stamp_ns < self._newest_ns.get(name, stamp_ns) - JUMP_BACK_S * 1e9:
            self._set_back()
        if name == 'colour' and self._emitted_ns is not None and stamp_ns < self._emitted_ns:
            return
        self._newest_ns[name] = max(stamp_ns, self._newest_ns.get(name, stamp_ns))
        images = self._images[name]
        newer = []
        while images and images[-1].stamp_ns > stamp_ns:
            newer.append(images.pop())
        images.append(_Image(stamp_ns, item))
        images.extend(reversed(newer))
        oldest = images[-1].stamp_ns - max(self.timeout_s, JUMP_BACK_S) * 1e9
        while images[0].stamp_ns < oldest:
            images.popleft()

    def _set_back(self) -> None:
        self._emitted_ns = None
        self._newest_ns.clear()
        self._depth_stamps.clear()
        self._alone.clear()
        for images in self._images.values():
            images.clear()

    def _complete(self, now: float) -> Pair | None:
        """The newest pair there is now."""
        colours = self._images['colour']
        if not colours:
            return None
        if not self.use_depth:
            return self._emit(colours[-1], None)
        overdue = self._overdue(now)
        found = self._matched(overdue)
        if found is not None:
            self._waiting_since, self._given_up = now, False
            return self._emit(*found)
        if overdue:
            self._alone.append((colours[-1].stamp_ns, now))
            self._given_up = True
            return self._emit(colours[-1], None)
        return None

    def _matched(self, at_once: bool) -> tuple[_Image, _Image] | None:
        """The newest colour image whose depth is here, and that depth.

        at_once: take what is within the slop, even if a nearer one may come.
        """
        colours, depths = list(self._images['colour']), list(self._images['depth'])
        stamps = [depth.stamp_ns for depth in depths]
        if not depths:
            return None
        half_ns, newest_ns = self._period_ns() / 2, self._newest_ns['depth']
        first = bisect_left(colours, stamps[0] - self._slop_ns, key=_stamp)
        last = bisect_right(colours, stamps[-1] + self._slop_ns, key=_stamp)
        for index in reversed(range(first, last)):
            colour = colours[index]
            depth = _nearest(depths, stamps, colour.stamp_ns)
            apart_ns = abs(colour.stamp_ns - depth.stamp_ns)
            if apart_ns > self._slop_ns or apart_ns >= depth.used_ns:
                continue
            beside = colours[max(0, index - 1) : index + 2]
            if any(abs(other.stamp_ns - depth.stamp_ns) < apart_ns for other in beside):
                continue
            # Depth of this instant or later has come, or its next is due farther away.
            if at_once or colour.stamp_ns <= newest_ns or apart_ns <= half_ns:
                return colour, depth
        return None

    def _period_ns(self) -> int:
        """The time between depth images; 0 as long as it is not known."""
        return min((b - a for a, b in pairwise(self._depth_stamps) if b > a), default=0)

    def _emit(self, colour: _Image, depth: _Image | None) -> Pair:
        """Forgets colour up to this one, and depth that no colour after it can be nearest to."""
        self._emitted_ns = colour.stamp_ns
        colours, depths = self._images['colour'], self._images['depth']
        while colours and colours[0].stamp_ns <= colour.stamp_ns:
            colours.popleft()
        while depths and depths[0].stamp_ns < colour.stamp_ns - self._slop_ns:
            depths.popleft()
        if depth is None:
            return Pair(colour.item, None)
        while depths[0] is not depth:
            depths.popleft()
        depth.used_ns = abs(colour.stamp_ns - depth.stamp_ns)
        if depth.used_ns == 0:
            depths.popleft()
        return Pair(colour.item, depth.item)


def _stamp(image: _Image) -> int:
    return image.stamp_ns


def _nearest(depths: list[_Image], stamps: list[int], stamp_ns: int) -> _Image:
    """The depth nearest to a stamp; the newest of those that are equally near."""
    after = min(bisect_right(stamps, stamp_ns), len(depths) - 1)
    before = max(0, after - 1)
    return min(depths[after], depths[before], key=lambda depth: abs(depth.stamp_ns - stamp_ns))
