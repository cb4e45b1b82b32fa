"""TosaNode: the base of the three lifecycle nodes, so that each contains only its own work.

Parameters from a table, topics with QoS overrides, transitions that say why they fail,
subscriptions only while the outputs have subscribers, one worker thread, diagnostics,
autostart, and a `main` that ends cleanly whatever the worker is doing.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.signals import SignalHandlerOptions

from tosa_ros.devices import release_memory
from tosa_ros.errors import RosError, TosaError
from tosa_ros.ros import distributions, parameters, topics
from tosa_ros.ros.diagnostics import ERROR, OK, WARN, Faults, Meter, diagnostic_array
from tosa_ros.ros.inputs import Inputs, resolved_name
from tosa_ros.ros.shutdown import Shutdown
from tosa_ros.ros.undeclared import undeclared
from tosa_ros.ros.worker import LatestWorker
from tosa_ros.settings import node_settings

if TYPE_CHECKING:
    from tosa_ros.ros.answer_queue import AnswerQueue

DIAGNOSTICS_PERIOD_S = 1.0
RELEASE_PERIOD_S = 20.0  # A large image's memory is kept no longer.
WORKER_STOP_S = 2.0


class TosaNode(LifecycleNode):
    """A lifecycle node of the graph; subclasses implement the hooks below.

    Hooks: configure() loads and makes publishers; release() undoes it; wanted_inputs() says
    what to subscribe to now; work(item) runs in the worker thread; on_parameters(changed) takes
    run-time changes; status() adds to diagnostics.
    """

    needed_inputs: tuple[str, ...] = ()  # Whose silence is a fault.

    def __init__(self, name: str, **node_options: Any) -> None:
        """Raises RosError for an invalid parameter value; node_options as rclpy's Node."""
        super().__init__(name, **node_options)
        self.meter = Meter()
        self.faults = Faults(self._log_fault)
        self.active = self.loading = False
        self._released = self.now()
        self._topics = {topic.name: topic for topic in topics.TOPICS[name]}
        self._outputs: dict[str, Any] = {}
        self.inputs = Inputs(self, self._topics, self.fault)
        self.worker: LatestWorker | AnswerQueue | None = None
        self._settings = {row.name: row for row in node_settings(name)}
        parameters.declare(self, list(self._settings.values()), self.check_together)
        distributions.after_set(self, self._parameters_changed)
        # Steady, so that diagnostics go on when simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._diagnostics = self.create_publisher(
            topics.ros_type(topics.DIAGNOSTICS.type),
            topics.DIAGNOSTICS.name,
            topics.qos_profile(topics.DIAGNOSTICS.qos),
            qos_overriding_options=QoSOverridingOptions(topics.overridable()),
        )
        self.create_timer(DIAGNOSTICS_PERIOD_S, self._tick, clock=steady)
        distributions.watch_subscribers(self, self._subscribers, self.update_inputs)
        if self.value('autostart'):
            self._autostart = self.create_timer(0.0, self._start, clock=steady)

    # Hooks.

    def configure(self) -> None:
        """Loads what the node works with; raises TosaError with the reason if it cannot."""

    def release(self) -> None:
        """Releases what configure loaded."""

    def wanted_inputs(self) -> dict[str, Callable[[Any], None]]:
        """Topic to callback: what to subscribe to, asked while the node is active."""
        return {}

    def work(self, item: Any) -> None:
        """The work on the newest item, in the worker thread."""

    def demanded(self) -> bool:
        """Whether the outputs have subscribers."""
        return any(self._subscribers())

    def check_together(self, values: dict[str, Any], given: dict[str, Any]) -> None:
        """Raises TosaError if these values do not go together; `given` are the new ones."""

    def on_parameters(self, changed: dict[str, Any]) -> None:
        """Takes parameters that were changed at run time."""

    def status(self) -> dict[str, str]:
        """What to add to the diagnostics."""
        return {}

    # What subclasses use.

    def value(self, name: str) -> Any:
        """The meaning of a parameter's value."""
        value = self.get_parameter(name).value
        return self._settings[name].from_ros(value) if name in self._settings else value

    def values(self) -> dict[str, Any]:
        """The meanings of all parameters of the table, by name."""
        return {name: self.value(name) for name in self._settings}

    def publisher(self, name: str) -> Any:
        """A lifecycle publisher of a topic in the table; its subscribers count as demand."""
        topic = self._topics[name]
        self._outputs[name] = self.create_lifecycle_publisher(
            topics.ros_type(topic.type),
            resolved_name(self, name),
            topics.qos_profile(topic.qos),
            event_callbacks=distributions.matched_events(self.update_inputs),
            qos_overriding_options=QoSOverridingOptions(topics.overridable()),
        )
        return self._outputs[name]

    def listeners(self, name: str) -> int:
        """The number of subscribers to one of this node's outputs."""
        return self._outputs[name].get_subscription_count()

    def _subscribers(self) -> list[int]:
        return [self.listeners(name) for name in self._outputs]

    def now(self) -> float:
        """Monotonic seconds, for latencies and ages; stamps come from messages."""
        return time.monotonic()

    def fault(self, key: str, message: str, level: int = WARN) -> None:
        """Reports a fault of `key`: in the log once, in diagnostics while it lasts."""
        self.faults.report(key, message, self.now(), level)

    def update_inputs(self) -> None:
        """Subscribes to the inputs if the outputs have subscribers, else unsubscribes."""
        self.inputs.want(self.wanted_inputs() if self.active else {})

    def close(self) -> bool:
        """Ends the worker; False if its current work takes longer."""
        self.active = False
        worker, self.worker = self.worker, None
        return worker is None or worker.stop(WORKER_STOP_S)

    # Transitions.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._report_undeclared()
        started = self.now()
        self.loading = True
        try:
            self.configure()
        except Exception as error:
            self._release()
            return self._failed('configure', error)
        finally:
            self.loading = False
        if self.worker is None:
            self.worker = LatestWorker(self._work, self.work_failed, self.get_name())
            self.worker.set_max_rate(self.value('max_rate'))
        self.faults.clear('configure')
        self.get_logger().info(f'configured in {self.now() - started:.1f} s')
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = super().on_activate(state)
        self.active = True
        try:
            self.update_inputs()
        except Exception as error:
            self.active = False
            super().on_deactivate(state)
            return self._failed('activate', error)
        self.faults.clear('activate')
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.active = False
        self.worker.clear()
        self.worker.wait_idle(WORKER_STOP_S)
        self.update_inputs()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        return super().on_error(state)

    def _report_undeclared(self) -> None:
        unknown, others = undeclared(self, self._topics.values())
        name = self.get_name()
        if unknown:
            listed = ', '.join(unknown)
            self.get_logger().warning(
                f'parameters that {name} does not have are ignored: {listed}; see '
                '`ros2 param list`'
            )
        if others:
            self.get_logger().info(f'left to other nodes, not for {name}: {", ".join(others)}')

    def _start(self) -> None:
        self._autostart.cancel()
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def _release(self) -> None:
        self.close()
        self.update_inputs()
        while self._outputs:
            self.destroy_lifecycle_publisher(self._outputs.popitem()[1])
        self.release()

    def _failed(self, transition: str, error: Exception) -> TransitionCallbackReturn:
        """rclpy swallows what a transition raises: this logs the reason."""
        if not isinstance(error, TosaError):
            self.get_logger().error(traceback.format_exc())
        message = f'{transition}: {_one_line(error)}'
        self.faults.report(transition, message, self.now(), ERROR, lasting=True)
        return TransitionCallbackReturn.FAILURE

    # Work, diagnostics.

    def _work(self, item: Any) -> None:
        if self.active:
            self.work(item)

    def work_failed(self, error: BaseException) -> None:
        """What to do with an exception from the worker: a fault, and the thread goes on."""
        if not self.active:
            return  # It was let go of in the middle.
        if isinstance(error, TosaError):
            self.fault('work', _one_line(error))
        else:
            self.fault('work', f'{type(error).__name__}: {_one_line(error)}', ERROR)
            self.get_logger().debug(''.join(traceback.format_exception(error)))

    def _parameters_changed(self, given: Sequence[Any]) -> None:
        changed = {parameter.name: parameter.value for parameter in given}
        if 'max_rate' in changed and self.worker is not None:
            self.worker.set_max_rate(changed['max_rate'])
        try:
            self.on_parameters(changed)
        except TosaError as error:
            self.fault('parameters', _one_line(error))

    def _tick(self) -> None:
        self.update_inputs()
        if self.now() - self._released > RELEASE_PERIOD_S:
            self._released = self.now()
            release_memory()
        for name, reason in self.inputs.silent().items():
            if name in self.needed_inputs:
                self.fault(f'{name} silent', reason)
        state = self._state_machine.current_state[1]
        if state == 'active' and not self.inputs:
            state = 'active, idle: no subscribers'
        values = {**self.meter.values(self.now()), **self.status()}
        if self.worker is not None:
            values['dropped'] = str(self.worker.dropped)
        message = diagnostic_array(
            self.get_clock().now().to_msg(),
            self.get_fully_qualified_name().lstrip('/'),
            values.get('model', ''),
            self.faults.settled(self.now()),
            state,
            values,
        )
        self._diagnostics.publish(message)

    def _log_fault(self, level: int, message: str) -> None:
        if level == OK:
            self.get_logger().info(message)
        elif level == ERROR:
            self.get_logger().error(message)
        else:
            self.get_logger().warning(message)


def run_node(make: Callable[[], TosaNode], args: Sequence[str] | None = None) -> int:
    """Spins a node until a signal ends it; the `main` of the three nodes.

    Returns:
        0, or 2 for an invalid parameter (one line on stderr).
    """
    nodes: list[TosaNode] = []
    shutdown = Shutdown(lambda: not nodes or nodes[0].loading)
    with contextlib.suppress(KeyboardInterrupt):
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        try:
            nodes.append(make())
        except RosError as error:
            print(f'tosa_ros: {error}', file=sys.stderr)
            rclpy.try_shutdown()
            return 2
        shutdown.spin(*nodes)
    if finish(nodes):
        rclpy.try_shutdown()
    return 0


def finish(nodes: list[TosaNode]) -> bool:
    """Closes nodes and empties the list; False, and does not, where the work of one goes on.

    An inference cannot be interrupted, and nothing may be destroyed under it.
    """
    stopped = [node.close() for node in nodes]
    if not all(stopped):
        return False
    while nodes:
        nodes.pop().destroy_node()
    # Only when its last node is collected a process leaves the graph, and frees shared memory.
    gc.collect()
    return True


def _one_line(error: Exception) -> str:
    return ' '.join(str(error).split())
