"""LiveReplay: a recording played to the running graph, with /clock, and questions asked meanwhile.

Knows no bag format: it is given recorded messages as they lie in ROS 2 bags, serialised.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from rclpy.qos import QoSDurabilityPolicy
from rosgraph_msgs.msg import Clock

from tosa_ros.errors import RosError
from tosa_ros.ros.asker import Asker
from tosa_ros.ros.conversions import stamp_message
from tosa_ros.ros.topics import qos_profile, ros_type

CLOCK_PERIOD_S = 0.01
READY_S = 60.0


class Recorded(NamedTuple):
    """A message of a recording: when (seconds), on which topic, and its CDR bytes."""

    time_s: float
    topic: str
    cdr: bytes


class TimedQuestion(NamedTuple):
    """A question and the recording's time to ask it at; None: when all has been played."""

    id: str
    text: str
    time_s: float | None = None


class LiveReplay:
    """Plays a recording once and asks questions about it; the nodes run with use_sim_time.

    types: topic to type ('sensor_msgs/msg/Image'); a type that is not installed is left out,
        and named in `left_out`. recorded: in the order of time. rate: how fast to play.
    """

    def __init__(
        self, types: Mapping[str, str], recorded: Iterable[Recorded], *, rate: float = 1.0
    ) -> None:
        if not 0 < rate <= 100:
            raise RosError(f'rate: {rate:g}; wanted above 0 and at most 100')
        self._recorded, self._rate = recorded, rate
        self._asker = Asker('tosa_replay')
        self._clock = self._asker.create_publisher(Clock, '/clock', qos_profile('text'))
        self._mouths: dict[str, Any] = {}
        self.left_out: dict[str, str] = {}
        for topic, kind in types.items():
            self._open(topic, kind)
        self._now_s = -float('inf')
        self._stop, self._played = threading.Event(), threading.Event()
        self._error: Exception | None = None

    def run(
        self,
        questions: Iterable[TimedQuestion],
        *,
        wait_for: Collection[str] = (),
        timeout_s: float = 60.0,
    ) -> Iterator[tuple[TimedQuestion, dict[str, Any]]]:
        """Plays, and gives each question with its reply, in the order of their times.

        wait_for: topics that must be subscribed to before anything is played. A question that
        nobody answers gets a reply with `error` only.

        Raises:
            RosError: the graph is not there, or the recording cannot be played.
        """
        self._asker.wait_until(
            lambda: all(self._mouths[topic].get_subscription_count() for topic in wait_for),
            READY_S,
            f'nobody subscribes to {", ".join(wait_for)}: are the nodes up, and told so?',
        )
        player = threading.Thread(target=self._play, name='player', daemon=True)
        player.start()
        try:
            for question in sorted(questions, key=_when):
                self._wait(question)
                yield question, self._ask(question, timeout_s)
            while not self._played.wait(0.1):
                pass
            self._check()
        finally:
            self._stop.set()
            player.join()

    def close(self) -> None:
        """Destroys what talks to the graph."""
        self._asker.close()

    def _open(self, topic: str, kind: str) -> None:
        qos = qos_profile('text')
        if topic.endswith('tf_static'):
            qos.durability = QoSDurabilityPolicy.TRANSIENT_LOCAL
        try:
            self._mouths[topic] = self._asker.create_publisher(ros_type(kind), topic, qos)
        except (ImportError, AttributeError):
            self.left_out[topic] = kind

    def _wait(self, question: TimedQuestion) -> None:
        until = _when(question)
        while self._now_s < until and not self._played.is_set():
            self._played.wait(CLOCK_PERIOD_S)
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise RosError(f'replay: the recording cannot be played: {self._error}')

    def _ask(self, question: TimedQuestion, timeout_s: float) -> dict[str, Any]:
        try:
            return self._asker.ask(question.text, timeout_s)
        except RosError as error:
            return {'text': '', 'error': str(error)}

    def _play(self) -> None:
        try:
            started = first_s = None
            for message in self._recorded:
                if started is None:
                    started, first_s = time.monotonic(), message.time_s
                self._pass(started, first_s, message.time_s)
                if self._stop.is_set():
                    break
                if message.topic in self._mouths:
                    self._mouths[message.topic].publish(bytes(message.cdr))
        except Exception as error:  # A damaged bag, told to whoever asks.
            self._error = error
        self._played.set()

    def _pass(self, started: float, first_s: float, until_s: float) -> None:
        """Lets the recording's time pass, with /clock telling it."""
        while not self._stop.is_set():
            passed_s = first_s + (time.monotonic() - started) * self._rate
            self._tell(min(passed_s, until_s))
            left_s = (until_s - passed_s) / self._rate
            if left_s <= 0:
                return
            time.sleep(min(left_s, CLOCK_PERIOD_S))

    def _tell(self, now_s: float) -> None:
        if now_s - self._now_s >= CLOCK_PERIOD_S * self._rate:
            self._now_s = now_s
            self._clock.publish(Clock(clock=stamp_message(now_s)))


def _when(question: TimedQuestion) -> float:
    return float('inf') if question.time_s is None else question.time_s
