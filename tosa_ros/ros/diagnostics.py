"""What a node reports about its health: speed, latency, faults; ROS-free but for the message.

A fault is logged when it begins and when it is over, not once a frame, and is in every
diagnostics message as long as it lasts.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

OK, WARN, ERROR = 0, 1, 2
_WINDOW_S = 5.0
_LATENCIES = 200
_KINDS_LOGGED = 20


class Fault(NamedTuple):
    """logged: the messages logged, without their numbers, which may differ from frame to frame."""

    level: int
    message: str
    last: float
    count: int
    lasting: bool
    logged: frozenset[str]


class Faults:
    """The present faults, by a key that names what is at fault ('image', 'depth', 'model').

    hold_s: a fault ends when it was not reported for this long, so that a stream with
        occasional faults is one fault, not hundreds. Lasting ones are over only when cleared.
    """

    def __init__(self, log: Callable[[int, str], None], hold_s: float = 5.0) -> None:
        self._log, self._hold_s = log, hold_s
        self._lock = threading.Lock()
        self._active: dict[str, Fault] = {}

    def report(
        self, key: str, message: str, now: float, level: int = WARN, lasting: bool = False
    ) -> None:
        """Reports a fault, and logs it only if it is new."""
        kind = re.sub(r'[\d.,]+', '#', message)
        with self._lock:
            before = self._active.get(key)
            count, logged = (
                (1, frozenset()) if before is None else (before.count + 1, before.logged)
            )
            self._active[key] = Fault(level, message, now, count, lasting, logged | {kind})
        if kind not in logged and len(logged) < _KINDS_LOGGED:
            self._log(level, message)

    def clear(self, key: str) -> None:
        """Ends a fault."""
        with self._lock:
            fault = self._active.pop(key, None)
        if fault is not None:
            self._log(OK, f'over: {fault.message} ({fault.count} times)')

    def settled(self, now: float) -> list[Fault]:
        """Ends the faults that were not seen for `hold_s`; the others, the worst first."""
        with self._lock:
            over = [
                key
                for key, fault in self._active.items()
                if not fault.lasting and now - fault.last > self._hold_s
            ]
        for key in over:
            self.clear(key)
        with self._lock:
            return sorted(self._active.values(), key=lambda fault: -fault.level)


class Meter:
    """Counts frames and times: rate over the last seconds, latency percentiles, input age."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: deque[float] = deque(maxlen=1000)
        self._latencies_s: deque[float] = deque(maxlen=_LATENCIES)
        self._last_input: float | None = None
        self.inputs = 0

    def input(self, now: float) -> None:
        """An input arrived."""
        with self._lock:
            self._last_input = now
            self.inputs += 1

    def done(self, now: float, latency_s: float) -> None:
        """A result went out, latency_s after its input came."""
        with self._lock:
            self._done.append(now)
            self._latencies_s.append(latency_s)

    def values(self, now: float) -> dict[str, str]:
        """What diagnostics show; `none` where nothing was measured yet."""
        with self._lock:
            recent = sum(now - when <= _WINDOW_S for when in self._done)
            ordered = sorted(self._latencies_s)
            age = None if self._last_input is None else now - self._last_input
        values = {'fps': f'{recent / _WINDOW_S:.1f}'}
        for name, share in (('p50', 0.5), ('p95', 0.95)):
            at = min(len(ordered) - 1, round(share * (len(ordered) - 1)))
            values[f'latency_{name}_ms'] = f'{ordered[at] * 1e3:.1f}' if ordered else 'none'
        values['input_age_s'] = 'none' if age is None else f'{age:.2f}'
        return values


def model_name(model: str) -> str:
    """The short name of a model parameter's value."""
    return Path(model).name or 'embedded'


def diagnostic_array(
    stamp: Any,
    name: str,
    hardware_id: str,
    faults: list[Fault],
    state: str,
    values: dict[str, str],
) -> Any:
    """A diagnostic_msgs/DiagnosticArray with one status: the worst fault leads it."""
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

    status = DiagnosticStatus(name=name, hardware_id=hardware_id)
    status.level = bytes([faults[0].level if faults else OK])
    status.message = '; '.join(fault.message for fault in faults) or state
    shown = {'state': state, **values}
    status.values = [KeyValue(key=key, value=str(value)) for key, value in shown.items()]
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp
    return array
