"""Watcher: what the diagnostics of the graph's nodes say, told when it changes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from rclpy.node import Node

from tosa_ros.ros.diagnostics import ERROR
from tosa_ros.ros.topics import DIAGNOSTICS, qos_profile, ros_type


class Watcher(Node):
    """Tells when each of these nodes becomes active, and when all have.

    say: called with a line. ready: called once, when all are active.
    failed: the reason why a node cannot be configured, or empty.
    """

    def __init__(
        self, nodes: Collection[str], say: Callable[[str], None], ready: Callable[[], None]
    ) -> None:
        super().__init__('tosa_up')
        self._say, self._ready = say, ready
        space = self.get_namespace().strip('/')
        self._states = {f'{space}/{name}' if space else name: '' for name in nodes}
        self._all_were_active = False
        self.failed = ''
        self.create_subscription(
            ros_type(DIAGNOSTICS.type), DIAGNOSTICS.name, self._came, qos_profile(DIAGNOSTICS.qos)
        )

    def _came(self, message: Any) -> None:
        for status in message.status:
            if status.name in self._states:
                values = {item.key: item.value for item in status.values}
                self._take(status.name, values, status.level[0] >= ERROR, status.message)

    def _take(self, name: str, values: dict[str, str], error: bool, message: str) -> None:
        state = values.get('state', '').split(',')[0]
        if state == 'unconfigured' and error:
            self.failed = f'{name}: {message}'
        if state != self._states[name]:
            self._states[name] = state
            model = f' ({values["model"]})' if values.get('model') else ''
            self._say(f'{name}: {state}{model}')
        if not self._all_were_active and set(self._states.values()) == {'active'}:
            self._all_were_active = True
            self._ready()
