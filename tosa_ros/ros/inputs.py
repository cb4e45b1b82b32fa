"""A node's subscriptions: only while needed, and as reliable as their publishers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSPolicyKind, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

from tosa_ros.errors import TosaError
from tosa_ros.ros import topics

Report = Callable[[str, str], None]
SILENCE_S = 5.0


def resolved_name(node: Node, name: str) -> str:
    """The full topic name; 'image/compressed' follows where 'image' is remapped to."""
    base, _, transport = name.partition('/')
    return node.resolve_topic_name(base) + (f'/{transport}' if transport else '')


class Inputs:
    """Subscriptions by topic name.

    A best-effort subscription receives from every publisher, but loses images larger than a
    transport's buffer; a reliable one receives from reliable publishers only. So a subscription
    to images is reliable if all publishers are reliable, else best effort; an override
    of its QoS in the parameters has the last word.
    """

    def __init__(self, node: Node, table: dict[str, topics.Topic], report: Report) -> None:
        self._node, self._table, self._report = node, table, report
        self._subscriptions: dict[str, tuple[Any, bool]] = {}
        self._received: dict[str, float] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._subscriptions

    def __bool__(self) -> bool:
        return bool(self._subscriptions)

    def want(self, callbacks: dict[str, Callable[[Any], None]]) -> None:
        """Subscribes to these topics, and no longer to others."""
        for name in [name for name in self._subscriptions if name not in callbacks]:
            self._node.destroy_subscription(self._subscriptions.pop(name)[0])
            self._received.pop(name, None)
        for name, callback in callbacks.items():
            reliable = self._reliable(name)
            if name in self._subscriptions:
                if self._subscriptions[name][1] == reliable:
                    continue
                self._node.destroy_subscription(self._subscriptions.pop(name)[0])
            try:
                subscription = self._subscription(name, callback, reliable)
            except Exception as error:  # A QoS override that cannot be.
                self._report(name, f'{name}: cannot subscribe: {error}')
                continue
            self._received.setdefault(name, time.monotonic())
            self._subscriptions[name] = subscription, reliable

    def silent(self) -> dict[str, str]:
        """The topics without messages for long, with the likely reason."""
        reasons = {}
        for name, received in self._received.items():
            if time.monotonic() - received > SILENCE_S:
                topic = resolved_name(self._node, name)
                count = self._node.count_publishers(topic)
                reasons[name] = f'nothing on {topic} for {SILENCE_S:g} s ({count} publishers)'
        return reasons

    def _adapts(self, name: str) -> bool:
        """Whether the subscription's reliability follows the publishers."""
        override = f'qos_overrides.{resolved_name(self._node, name)}.subscription.reliability'
        reliable = topics.QOS[self._table[name].qos][0]
        return not reliable and override not in self._node._parameter_overrides

    def _reliable(self, name: str) -> bool:
        if not self._adapts(name):
            return topics.QOS[self._table[name].qos][0]
        offers = self._node.get_publishers_info_by_topic(resolved_name(self._node, name))
        if not offers:
            return name in self._subscriptions and self._subscriptions[name][1]
        return all(
            offer.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE for offer in offers
        )

    def _subscription(self, name: str, callback: Callable[[Any], None], reliable: bool) -> Any:
        topic, adapts = self._table[name], self._adapts(name)
        full_name = resolved_name(self._node, name)
        qos = topics.qos_profile(topic.qos)
        overridable = [QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH]
        if adapts:
            # A declared reliability would win over the one chosen when publishers change.
            qos.reliability = topics.reliability(reliable)
        else:
            overridable.append(QoSPolicyKind.RELIABILITY)

        def received(message: Any) -> None:
            self._received[name] = time.monotonic()
            try:
                callback(message)
            except TosaError as error:
                self._report(name, str(error))
            except Exception as error:  # One message must not end the node.
                self._report(name, f'{name}: {type(error).__name__}: {error}')

        def incompatible(_: Any) -> None:
            if adapts:
                return  # The next call of want() sees the publisher.
            self._report(
                f'{name} qos',
                f'{name}: a publisher on {full_name} is best effort, and this subscription is '
                'reliable, so nothing arrives from it; make the publisher reliable or set '
                f'qos_overrides.{full_name}.subscription.reliability',
            )

        return self._node.create_subscription(
            topics.ros_type(topic.type),
            full_name,
            received,
            qos,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=incompatible),
            qos_overriding_options=QoSOverridingOptions(overridable),
        )
