"""The rclpy that is installed, without what Humble's lacks: `python tests/humble.py qa_node ...`.

Runs a node of the package, or `tosa` with its arguments, in such a process. What Humble lacks was
found by comparing its branch of ros2/rclpy with every name that the package uses of rclpy.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

LACKS = {
    'rclpy.node.Node': ('add_pre_set_parameters_callback', 'add_post_set_parameters_callback'),
    'rclpy.subscription.Subscription': ('get_publisher_count',),
}
LACKING_MODULES = ('rclpy.event_handler', 'rclpy.parameter_client')


def become_humble() -> None:
    """Before the package's nodes are imported."""
    import rclpy
    import rclpy.event_handler as events
    from rclpy.lifecycle import LifecycleNode
    from rclpy.node import Node
    from rclpy.subscription import Subscription

    assert issubclass(LifecycleNode, Node)
    for kind in (Node, Subscription):
        for name in LACKS[f'{kind.__module__}.{kind.__name__}']:
            delattr(kind, name)
    sys.modules['rclpy.qos_event'] = _qos_event(events)
    rclpy.qos_event = sys.modules['rclpy.qos_event']
    for name in LACKING_MODULES:
        sys.modules[name] = None


def _qos_event(events: ModuleType) -> ModuleType:
    """The module of events with Humble's signatures."""

    class PublisherEventCallbacks(events.PublisherEventCallbacks):
        def __init__(self, *, deadline=None, liveliness=None, incompatible_qos=None,
                     use_default_callbacks=True) -> None:  # fmt: skip
            super().__init__(
                deadline=deadline,
                liveliness=liveliness,
                incompatible_qos=incompatible_qos,
                use_default_callbacks=use_default_callbacks,
            )

    class SubscriptionEventCallbacks(events.SubscriptionEventCallbacks):
        def __init__(self, *, deadline=None, incompatible_qos=None, liveliness=None,
                     message_lost=None, use_default_callbacks=True) -> None:  # fmt: skip
            super().__init__(
                deadline=deadline,
                incompatible_qos=incompatible_qos,
                liveliness=liveliness,
                message_lost=message_lost,
                use_default_callbacks=use_default_callbacks,
            )

    module = ModuleType('rclpy.qos_event')
    module.PublisherEventCallbacks = PublisherEventCallbacks
    module.SubscriptionEventCallbacks = SubscriptionEventCallbacks
    return module


if __name__ == '__main__':
    sys.path[0] = str(Path(__file__).parents[1])
    become_humble()
    if sys.argv[1] == 'tosa':
        from tosa_ros.cli.main import main

        sys.exit(main(sys.argv[2:]))
    from tosa_ros.ros.run import run

    run(sys.argv.pop(1))
