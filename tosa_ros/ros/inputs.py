"""A node's subscriptions: only while needed, and as reliable as their publishers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSPolicyKind, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

from tosa_ros.errors import TosaError
from tosa_ros.ros import topics
from tosa_ros.ros.distributions import SubscriptionEventCallbacks

Report = Callable[[str, str], None]
SILENCE_S = 5.0


def resolved_name(node: Node, name: str) -> str:
    """The full topic name; 'image/compressed' follows where 'image' is remapped to."""
    if name.startswith('/'):
        return node.resolve_topic_name(name)
    base, _, transport = name.partition('/')
    return node.resolve_topic_name(base) + (f'/{transport}' if transport else '')


class _Quality(NamedTuple):
    """Of a subscription: reliable, and with what was published before it."""

    reliable: bool
    kept: bool


class Inputs:
    """Subscriptions by topic name.

    A best-effort subscription receives from every publisher, but loses images larger than a
    transport's buffer; a reliable one receives from reliable publishers only. So a subscription
    to images is reliable if all publishers are reliable, else best effort; and it gets what was
    published before it (transient local) if all publishers keep that. An override of its QoS in
    the parameters has the last word.
    """

    def __init__(self, node: Node, table: dict[str, topics.Topic], report: Report) -> None:
        self._node, self._table, self._report = node, table, report
        self._subscriptions: dict[str, tuple[Any, _Quality]] = {}
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
            quality = self._quality(name)
            if name in self._subscriptions:
                if self._subscriptions[name][1] == quality:
                    continue
                self._node.destroy_subscription(self._subscriptions.pop(name)[0])
            try:
                subscription = self._subscription(name, callback, quality)
            except Exception as error:  # A QoS override that cannot be.
                self._report(name, f'{name}: cannot subscribe: {error}')
                continue
            self._received.setdefault(name, time.monotonic())
            self._subscriptions[name] = subscription, quality

    def silent(self) -> dict[str, str]:
        """The topics without messages for long, with the likely reason."""
        reasons = {}
        for name, received in self._received.items():
            if time.monotonic() - received > SILENCE_S:
                topic = resolved_name(self._node, name)
                count = self._node.count_publishers(topic)
                reasons[name] = f'nothing on {topic} for {SILENCE_S:g} s ({count} publishers)'
        return reasons

    def _followed(self, name: str) -> set[QoSPolicyKind]:
        """The policies of a subscription that follow its publishers."""
        if topics.QOS[self._table[name].qos][0]:
            return set()
        prefix = f'qos_overrides.{resolved_name(self._node, name)}.subscription.'
        return {
            policy
            for policy in (QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
            if prefix + policy.name.lower() not in self._node._parameter_overrides
        }

    def _quality(self, name: str) -> _Quality:
        reliable, followed = topics.QOS[self._table[name].qos][0], self._followed(name)
        offers = self._node.get_publishers_info_by_topic(resolved_name(self._node, name))
        profiles = [offer.qos_profile for offer in offers]
        if not profiles or not followed:
            known = self._subscriptions.get(name)
            return known[1] if known else _Quality(reliable, False)
        if QoSPolicyKind.RELIABILITY in followed:
            reliable = all(p.reliability == QoSReliabilityPolicy.RELIABLE for p in profiles)
        kept = all(p.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL for p in profiles)
        return _Quality(reliable, kept and QoSPolicyKind.DURABILITY in followed)

    def _subscription(self, name: str, callback: Callable[[Any], None], quality: _Quality) -> Any:
        topic, followed = self._table[name], self._followed(name)
        full_name = resolved_name(self._node, name)
        qos = topics.qos_profile(topic.qos)
        qos.reliability = topics.reliability(quality.reliable)
        if quality.kept:
            qos.durability = QoSDurabilityPolicy.TRANSIENT_LOCAL
        # A declared policy would win over what is chosen when publishers change.
        overridable = [policy for policy in topics.overridable() if policy not in followed]

        def received(message: Any) -> None:
            # What is kept for late comers need not come again.
            self._received[name] = float('inf') if quality.kept else time.monotonic()
            try:
                callback(message)
            except TosaError as error:
                self._report(name, str(error))
            except Exception as error:  # One message must not end the node.
                self._report(name, f'{name}: {type(error).__name__}: {error}')

        def incompatible(_: Any) -> None:
            if len(followed) == 2:
                return  # The next call of want() sees the publisher.
            self._report(
                f'{name} qos',
                f'{name}: a publisher on {full_name} offers less than this subscription wants '
                '(reliability, durability), so nothing arrives from it; change the publisher or '
                f'qos_overrides.{full_name}.subscription',
            )

        return self._node.create_subscription(
            topics.ros_type(topic.type),
            full_name,
            received,
            qos,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=incompatible),
            qos_overriding_options=QoSOverridingOptions(overridable),
        )
