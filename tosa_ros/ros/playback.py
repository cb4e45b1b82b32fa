"""LiveReplay: a recording played to the running graph, with /clock, and questions asked meanwhile.

Knows no bag format: it is given recorded messages as they lie in ROS 2 bags, serialised.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from rclpy.qos import QoSDurabilityPolicy
from rosgraph_msgs.msg import Clock

from tosa_ros.errors import RosError
from tosa_ros.messages import header_stamp_ns
from tosa_ros.messages.recording import Playback, Received, Recorded, TimedQuestion
from tosa_ros.ros.asker import Asker
from tosa_ros.ros.conversions import stamp_message
from tosa_ros.ros.graph_status import GraphStatus
from tosa_ros.ros.topics import qos_profile, ros_type

CLOCK_PERIOD_S = 0.01
READY_S = 60.0
# How long the last image may take to be encoded before the questions that come after it.
SETTLE_S = 5.0
# As many questions wait at qa_node by default before it refuses more.
MAX_WAITING = 8
CLOCK = '/clock'
IMAGES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
_IMAGE_DEPTH = 10  # of a megabyte each


class LiveReplay:
    """Plays a recording once and asks questions about it; the nodes run with use_sim_time.

    types: topic to type ('sensor_msgs/msg/Image'); a type that is not installed is left out,
        and named in `left_out`. recorded: in the order of time. rate: how fast to play.
    image: the topic whose messages are counted against the frames that were encoded.
    """

    def __init__(
        self,
        types: Mapping[str, str],
        recorded: Iterable[Recorded],
        *,
        rate: float = 1.0,
        image: str = '',
    ) -> None:
        if not 0 < rate <= 100:
            raise RosError(f'rate: {rate:g}; wanted above 0 and at most 100')
        self._recorded, self._rate, self._image = recorded, rate, image
        self._asker = Asker('tosa_replay')
        self._graph = GraphStatus(self._asker)
        self._clock = self._asker.create_publisher(Clock, CLOCK, qos_profile('text'))
        self._publishers: dict[str, Any] = {}
        self.left_out: dict[str, str] = {}
        for topic, kind in types.items():
            self._open(topic, kind)
        self._now_s = -float('inf')
        self._awaited_ns: int | None = None  # The last image's stamp, until it was waited for.
        self._sent: dict[int, float] = {}  # Stamp (ns) of an image to when (monotonic).
        self._wall_s = 0.0
        self._stop, self._played = threading.Event(), threading.Event()
        self._error: Exception | None = None

    @property
    def playback(self) -> Playback:
        """What came of the images so far."""
        encoded = self._graph.encoded
        took = [1e3 * (encoded[s] - sent) for s, sent in self._sent.items() if s in encoded]
        return Playback(len(self._sent), len(took), self._wall_s, took)

    @property
    def tokens_before(self) -> int:
        """Image tokens of a frame without merging; 0 before one was encoded."""
        return self._graph.before

    def settings(self) -> dict[str, Any]:
        """Waits until the nodes are active; their models and parameters.

        Raises:
            RosError: they are not, or do not report them.
        """
        try:
            self._asker.wait_until(self._graph.active, READY_S, '')
        except RosError:
            raise RosError(
                f'the nodes are not active ({self._graph.story()}): start `tosa up '
                '--use-sim-time`, with this ROS_DOMAIN_ID and namespace'
            ) from None
        models = {
            name: status['model']
            for name, status in self._graph.status.items()
            if status.get('model')
        }
        return {'models': models, **self._graph.settings(self._asker.executor)}

    def run(
        self,
        questions: Iterable[TimedQuestion],
        *,
        wait_for: Collection[str] = (),
        timeout_s: float = 60.0,
    ) -> Iterator[Received]:
        """Plays, and yields each question with its reply as answers arrive.

        A question is asked at its time, whether or not earlier ones are answered yet; only where
        MAX_WAITING are not, it waits. Those without a time are asked one after another in the end.

        Args:
            wait_for: topics that must be subscribed to before anything is played.
            timeout_s: for the answer to a question, since it was asked.

        Raises:
            RosError: the graph is not there, or the recording cannot be played.
        """
        for topic in wait_for:
            self._asker.wait_until(
                self._publisher(topic).get_subscription_count, READY_S, self._unsubscribed(topic)
            )
        player = threading.Thread(target=self._play, name='player', daemon=True)
        player.start()
        try:
            yield from self._conversation(deque(sorted(questions, key=_when)), timeout_s)
            while not self._played.is_set():
                self._asker.replies(CLOCK_PERIOD_S)
            self._settle()
            self._check()
        finally:
            self._stop.set()
            player.join()

    def close(self) -> None:
        """Destroys its node."""
        self._asker.close()

    # Asking, in the caller's thread.

    def _conversation(self, due: deque[TimedQuestion], timeout_s: float) -> Iterator[Received]:
        asked: dict[str, tuple[TimedQuestion, float, float]] = {}
        while due or asked:
            while due and self._may_ask(due[0], len(asked)):
                question = due.popleft()
                late_s = max(0.0, self._now_s - _when(question))
                name = self._asker.put(question.text, timeout_s)
                asked[name] = question, late_s, time.monotonic() + timeout_s
            for reply in self._asker.replies(CLOCK_PERIOD_S):
                if reply['done'] and reply['id'] in asked:
                    question, late_s, _ = asked.pop(reply['id'])
                    yield Received(question, reply, late_s)
            for name, (question, late_s, end) in list(asked.items()):
                if time.monotonic() > end:
                    del asked[name]
                    error = f'no answer within {timeout_s:g} s'
                    yield Received(question, {'text': '', 'error': error}, late_s)
            self._check()

    def _may_ask(self, question: TimedQuestion, waiting: int) -> bool:
        if question.time_s is None:
            if not waiting and self._played.is_set():
                self._settle()
                return True
            return False
        come = self._now_s >= question.time_s or self._played.is_set()
        return come and waiting < MAX_WAITING

    def _settle(self) -> None:
        """Waits for the last image to be encoded; it never is where depth for it is missing."""
        end = time.monotonic() + SETTLE_S
        while self._awaited_ns is not None and time.monotonic() < end:
            if self._awaited_ns in self._graph.encoded:
                break
            self._asker.replies(CLOCK_PERIOD_S)
        self._awaited_ns = None

    def _check(self) -> None:
        if self._error is not None:
            raise RosError(f'replay: the recording cannot be played: {self._error}')

    def _unsubscribed(self, topic: str) -> str:
        if topic == CLOCK:
            return 'no node subscribes to /clock: start the nodes with --use-sim-time'
        return f'no node subscribes to {topic}: do the nodes run, with this topic?'

    # Playing, in a thread of its own.

    def _publisher(self, topic: str) -> Any:
        return self._clock if topic == CLOCK else self._publishers[topic]

    def _open(self, topic: str, kind: str) -> None:
        qos = qos_profile('text')
        if kind in IMAGES:
            qos.depth = _IMAGE_DEPTH
        if topic.endswith('tf_static'):
            qos.durability = QoSDurabilityPolicy.TRANSIENT_LOCAL
        try:
            self._publishers[topic] = self._asker.create_publisher(ros_type(kind), topic, qos)
        except (ImportError, AttributeError):
            self.left_out[topic] = kind

    def _play(self) -> None:
        began = time.monotonic()
        try:
            started = first_s = None
            for message in self._recorded:
                if started is None:
                    started, first_s = time.monotonic(), message.time_s
                self._pass(started, first_s, message.time_s)
                if self._stop.is_set():
                    break
                if message.topic == self._image:
                    self._awaited_ns = header_stamp_ns(message.cdr)
                    self._sent[self._awaited_ns] = time.monotonic()
                if message.topic in self._publishers:
                    self._publishers[message.topic].publish(bytes(message.cdr))
        except Exception as error:  # A damaged bag: the caller of `check` gets the error.
            self._error = error
        self._wall_s = time.monotonic() - began
        self._played.set()

    def _pass(self, started: float, first_s: float, until_s: float) -> None:
        """Lets the recording's time pass, and publishes it on /clock."""
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
