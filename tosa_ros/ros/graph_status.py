"""What the running graph reports: states, settings, frames and their times."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Collection
from typing import Any

from rcl_interfaces.srv import GetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python

from tosa_ros.errors import RosError
from tosa_ros.messages import stamp_ns
from tosa_ros.ros.diagnostics import ERROR
from tosa_ros.ros.topics import DIAGNOSTICS, qos_profile, ros_type
from tosa_ros.settings import NODES, node_settings

NEEDED = ('vision_node', 'qa_node')
REPLY_S = 10.0
# Of a parameter file, what no answer depends on.
_IRRELEVANT = ('autostart', 'evidence_tokens', 'map_frame', 'transform_tolerance_s')


class GraphStatus:
    """Reads the graph's nodes in the namespace of the node that it is given.

    encoded: stamp (ns) of each frame whose visual tokens came, to when (monotonic seconds).
    before: image tokens of a frame without merging. status: node name to what diagnostics say.
    """

    def __init__(self, node: Node) -> None:
        self.encoded: dict[int, float] = {}
        self.before = 0
        self.status: dict[str, dict[str, str]] = {}
        self._node, self._space = node, node.get_namespace().strip('/')
        tokens = qos_profile('text')
        tokens.depth = 10
        node.create_subscription(
            ros_type('sensor_msgs/msg/PointCloud2'), 'visual_tokens', self._tokens_came, tokens
        )
        _subscribe(node, self._diagnostics_came)

    def active(self) -> bool:
        """Whether both nodes that a question needs are up and active."""
        return all(self._state(name).startswith('active') for name in NEEDED)

    def story(self) -> str:
        """The state of each needed node, in words."""
        return ', '.join(f'{name}: {self._state(name) or "not found"}' for name in NEEDED)

    def settings(self, executor: SingleThreadedExecutor) -> dict[str, dict[str, Any]]:
        """The nodes' parameters, on which answers depend.

        Raises:
            RosError: a node does not report them.
        """
        found = {}
        for node in NODES:
            if node not in NEEDED and node not in self.status:
                continue
            names = [row.name for row in node_settings(node) if row.name not in _IRRELEVANT]
            values = map(parameter_value_to_python, self._parameters(executor, node, names))
            found[node] = dict(zip(names, map(_plain, values), strict=True))
        return found

    def _parameters(
        self, executor: SingleThreadedExecutor, node: str, names: list[str]
    ) -> list[Any]:
        client = self._node.create_client(GetParameters, f'{node}/get_parameters')
        try:
            if client.wait_for_service(REPLY_S):
                future = client.call_async(GetParameters.Request(names=names))
                executor.spin_until_future_complete(future, REPLY_S)
                if future.result() is not None:
                    return future.result().values
        finally:
            self._node.destroy_client(client)
        raise RosError(f'{node}: does not report its parameters within {REPLY_S:g} s')

    def _state(self, name: str) -> str:
        return self.status.get(name, {}).get('state', '')

    def _tokens_came(self, message: Any) -> None:
        self.encoded[stamp_ns(message.header.stamp)] = time.monotonic()
        offset = next((f.offset for f in message.fields if f.name == 'before'), None)
        if offset is not None and message.width:
            order = '>' if message.is_bigendian else '<'
            [self.before] = struct.unpack_from(f'{order}I', message.data, offset)

    def _diagnostics_came(self, message: Any) -> None:
        for status in message.status:
            space, _, name = status.name.rpartition('/')
            if space == self._space and name in NODES:
                self.status[name] = {item.key: item.value for item in status.values}


class StatusWatcher(Node):
    """Reports when each of these nodes becomes active, and when all have.

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
        _subscribe(self, self._came)

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


def _subscribe(node: Node, came: Callable[[Any], None]) -> None:
    node.create_subscription(
        ros_type(DIAGNOSTICS.type), DIAGNOSTICS.name, came, qos_profile(DIAGNOSTICS.qos)
    )


def _plain(value: Any) -> Any:
    """Arrays of numbers as lists, for JSON."""
    return value if isinstance(value, str | int | float | None) else list(value)
