"""What a user of the graph sees: how old tokens are when they come, how long answers take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import quantiles

from sensor_msgs.msg import CameraInfo, PointCloud2

from benchmarks.ros.graphs import Pids, cpu_s
from tosa_ros.errors import RosError
from tosa_ros.messages import stamp_ns, stamp_s
from tosa_ros.ros.asker import Asker
from tosa_ros.ros.topics import qos_profile, reliability

QUESTION = 'How many red boxes are there?'
QUESTION_PERIOD_S = 0.5
PATIENCE_S = 120.0
WARM_TOKENS = 20
WHAT = {
    'tokens': 'camera stamp to `visual_tokens`',
    'first': 'question to first word',
    'last': 'question to last word',
}


@dataclass
class Seen:
    """Seconds by what was timed (WHAT), frames that the camera showed and that became tokens.

    cpu_s, seconds: processor time of the nodes, and in how long.
    """

    times: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in WHAT})
    shown: int = 0
    made: int = 0
    cpu_s: float = 0.0
    seconds: float = 0.0


class Listener(Asker):
    """Asks, and notes which frames the camera showed and when their tokens came."""

    def __init__(self, info_topic: str = 'camera_info', reliable: bool = True) -> None:
        super().__init__('bench_listener')
        self.shown: set[int] = set()
        self.made: dict[int, float] = {}
        self.create_subscription(PointCloud2, 'visual_tokens', self._tokens, qos_profile('viewer'))
        info_qos = qos_profile('text')
        info_qos.reliability = reliability(reliable)
        self.create_subscription(CameraInfo, info_topic, self._camera, info_qos)

    def spin(self, until: float) -> None:
        """Listens until a time of the monotonic clock."""
        while (left_s := until - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left_s)

    def timed(self) -> tuple[float, float]:
        """Seconds from a question to the first and to the last word of its answer.

        Raises:
            RosError: no answer, or one that is an error.
        """
        start = time.perf_counter()
        first: list[float] = []
        reply = self.ask(QUESTION, 60.0, lambda _: first.append(time.perf_counter() - start))
        if reply['error']:
            raise RosError(f'the question was refused: {reply["error"]}')
        last_s = time.perf_counter() - start
        return (first[0] if first else last_s), last_s

    def warm(self, asks: bool = True) -> None:
        """Waits until tokens flow, and asks the first question after a rest."""
        self.wait_until(
            lambda: len(self.made) > WARM_TOKENS,
            PATIENCE_S,
            f'no {WARM_TOKENS} frames became tokens within {PATIENCE_S:g} s',
        )
        if asks:
            self.timed()
        self.forget()

    def forget(self) -> None:
        self.shown.clear()
        self.made.clear()

    def counts(self) -> tuple[int, int]:
        """Frames that the camera showed, and those of them that became tokens.

        The latest do not count, as their tokens are still being made.
        """
        counted = {stamp for stamp in self.shown if stamp <= max(self.made, default=0)}
        return len(counted), len(counted & self.made.keys())

    def _tokens(self, cloud: PointCloud2) -> None:
        self.made[stamp_ns(cloud.header.stamp)] = time.time() - stamp_s(cloud.header.stamp)

    def _camera(self, info: CameraInfo) -> None:
        self.shown.add(stamp_ns(info.header.stamp))


def listen(seconds: float, seen: Seen, pids: Pids, asks: bool = True) -> None:
    """Asks and listens for a while, and adds to what was seen.

    asks: whether there is somebody to ask.
    """
    listener = Listener()
    try:
        listener.warm(asks)
        before, began = cpu_s(pids), time.monotonic()
        periodically(
            seconds, QUESTION_PERIOD_S, listener.spin, lambda: asks and _ask(listener, seen)
        )
        seen.cpu_s += cpu_s(pids) - before
        seen.seconds += time.monotonic() - began
        seen.times['tokens'] += listener.made.values()
        shown, made = listener.counts()
        seen.shown, seen.made = seen.shown + shown, seen.made + made
    finally:
        listener.close()


def periodically(
    seconds: float, period_s: float, wait: Callable[[float], None], act: Callable[[], object]
) -> None:
    """Acts once a period for some seconds; wait: until a time of the monotonic clock."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        due = time.monotonic() + period_s
        act()
        wait(due)


def _ask(listener: Listener, seen: Seen) -> None:
    first_s, last_s = listener.timed()
    seen.times['first'].append(first_s)
    seen.times['last'].append(last_s)


def percentiles(seconds: list[float]) -> tuple[float, float]:
    """The 50th and the 95th percentile, in milliseconds."""
    parts = quantiles((1e3 * second for second in seconds), n=100, method='inclusive')
    return parts[49], parts[94]
