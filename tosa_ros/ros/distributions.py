"""What rclpy lacks in Humble, and what is done instead: the only place that knows.

Humble's publishers do not tell when subscribers come, its nodes have no callbacks before and after
parameters are set, its subscriptions do not count publishers, and its events have another module.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

__all__ = [
    'MATCHED_EVENTS', 'PRE_SET_CALLBACKS', 'SubscriptionEventCallbacks', 'after_set', 'before_set',
    'count_publishers', 'matched_events', 'watch_subscribers',
]  # fmt: skip

LOOK_PERIOD_S = 0.1
MATCHED_EVENTS = 'matched' in inspect.signature(PublisherEventCallbacks).parameters
PRE_SET_CALLBACKS = hasattr(Node, 'add_pre_set_parameters_callback')
_POST_SET_CALLBACKS = hasattr(Node, 'add_post_set_parameters_callback')

Given = list[Any]  # of rclpy's Parameters


def matched_events(changed: Callable[[], None]) -> PublisherEventCallbacks:
    """The events of a publisher that call `changed` when a subscriber comes or goes.

    None do so where rclpy has none: `watch_subscribers` does then.
    """
    if MATCHED_EVENTS:
        return PublisherEventCallbacks(matched=lambda _: changed())
    return PublisherEventCallbacks()


def watch_subscribers(
    node: Node, counts: Callable[[], Sequence[int]], changed: Callable[[], None]
) -> None:
    """Calls `changed` when the numbers of subscribers change, where no event does."""
    if MATCHED_EVENTS:
        return
    known: list[int] = []

    def look() -> None:
        now = list(counts())
        if now != known:
            known[:] = now
            changed()

    node.create_timer(LOOK_PERIOD_S, look, clock=_steady())


def count_publishers(node: Node, subscription: Any) -> int:
    """The publishers that a subscription has; in Humble, all of its topic."""
    if hasattr(subscription, 'get_publisher_count'):
        return subscription.get_publisher_count()
    return node.count_publishers(subscription.topic_name)


def before_set(node: Node, coerce: Callable[[Given], Given]) -> None:
    """Lets `coerce` change parameters before they are set.

    Not in Humble: parameters are declared there as of any type (see `PRE_SET_CALLBACKS`), and
    their values are read as what was meant.
    """
    if PRE_SET_CALLBACKS:
        node.add_pre_set_parameters_callback(coerce)


def after_set(node: Node, changed: Callable[[Given], None]) -> None:
    """Calls `changed` with parameters once set; in Humble in the executor's next turn."""
    if _POST_SET_CALLBACKS:
        node.add_post_set_parameters_callback(changed)
        return
    from rcl_interfaces.msg import SetParametersResult

    given: Given = []

    def tell() -> None:
        timer.cancel()
        # What another callback refused was not set.
        new = [item for item in given if node.get_parameter(item.name).value == item.value]
        given.clear()
        changed(new)

    def asked(items: Given) -> Any:
        given.extend(items)
        timer.reset()
        return SetParametersResult(successful=True)

    timer = node.create_timer(0.0, tell, clock=_steady())
    timer.cancel()
    node.add_on_set_parameters_callback(asked)


def _steady() -> Clock:
    """Goes on when simulated time stands still."""
    return Clock(clock_type=ClockType.STEADY_TIME)
