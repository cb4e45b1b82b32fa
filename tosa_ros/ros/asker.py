"""Asker: asks the graph one question and receives the growing answer; the client of qa_node."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import String

from tosa_ros.errors import RosError
from tosa_ros.ros.distributions import count_publishers
from tosa_ros.ros.replies import parse_reply
from tosa_ros.ros.topics import qos_profile

MAX_TIMEOUT_S = 86_400.0


class Asker(Node):
    """A node that publishes questions and reads their answers."""

    def __init__(self, name: str = 'tosa_say') -> None:
        super().__init__(name)
        self._replies: list[dict[str, Any]] = []
        self._question = self.create_publisher(String, 'question', qos_profile('text'))
        self._answers = self.create_subscription(String, 'answer', self._came, qos_profile('text'))
        self.create_subscription(String, 'answer/partial', self._came, qos_profile('text'))
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    def ask(
        self, text: str, timeout_s: float, grown: Callable[[str], None] = lambda piece: None
    ) -> dict[str, Any]:
        """Asks and returns the final reply, as docs/ros.md describes it.

        grown: called with each piece that the answer grows by.

        Raises:
            RosError: no node receives questions, or no answer comes within the timeout.
        """
        end = time.monotonic() + timeout_s
        name, reported = self.put(text, timeout_s), ''
        while time.monotonic() < end:
            for reply in self.replies(end - time.monotonic()):
                if reply['id'] != name:
                    continue
                if reply['text'].startswith(reported) and len(reply['text']) > len(reported):
                    grown(reply['text'][len(reported) :])
                    reported = reply['text']
                if reply['done']:
                    return reply
        topic = self.resolve_topic_name('question')
        raise RosError(f'no answer on {topic} within {timeout_s:g} s')

    def put(self, text: str, timeout_s: float) -> str:
        """Publishes a question as soon as a node subscribes; returns the id of its replies.

        Questions are not kept for a node that comes later, as answers to them would be late.

        Raises:
            RosError: no node receives questions.
        """
        if not 0 < timeout_s <= MAX_TIMEOUT_S:
            raise RosError(f'timeout: {timeout_s:g} s; wanted above 0, at most {MAX_TIMEOUT_S:g}')
        topic = self.resolve_topic_name('question')
        self.wait_until(
            self._is_answered,
            timeout_s,
            f'no node receives {topic} and answers: is `tosa up` running, with this '
            'ROS_DOMAIN_ID and namespace?',
        )
        name = uuid.uuid4().hex
        self._question.publish(String(data=json.dumps({'id': name, 'text': text})))
        return name

    def replies(self, timeout_s: float) -> list[dict[str, Any]]:
        """All replies since the last call, to any question; waits for the first."""
        end = time.monotonic() + timeout_s
        while not self._replies and (left_s := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=min(left_s, 0.1))
        came, self._replies = self._replies, []
        return came

    def close(self) -> None:
        """Destroys the node."""
        self._executor.shutdown()
        self.destroy_node()

    def wait_until(self, condition: Callable[[], Any], timeout_s: float, complaint: str) -> None:
        """Spins until the condition holds. Raises RosError with the complaint if it does not."""
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                raise RosError(complaint)
            self._executor.spin_once(timeout_sec=0.1)

    def _is_answered(self) -> bool:
        """Whether qa_node runs: a recorder subscribes too, but gives no answers."""
        answering = count_publishers(self, self._answers)
        return answering > 0 and self._question.get_subscription_count() > 0

    def _came(self, message: String) -> None:
        reply = parse_reply(message.data)
        if reply is not None:
            self._replies.append(reply)
