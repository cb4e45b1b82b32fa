"""Work in Ray's actors, on this machine or a cluster: each keeps a model, and may die.

The unit of work is an item. Its result comes once, whatever happens: an item whose worker dies
goes to another, and one that ends three workers is given up, with a reason in its place.
"""

from __future__ import annotations

import math
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tosa_ros.errors import MissingDependencyError, TosaError, printable

DEATHS = 3  # of workers at one item, before it is given up
LOCAL = 'local'
CONNECT_S = 10.0
START_S = 600.0  # until a first worker has its model
ALONE_S = 120.0  # without a single worker, before a run ends
_POLL_S = 5.0


class WorkersError(TosaError):
    """Workers cannot be started, or are gone."""


@dataclass(frozen=True)
class Done:
    """An item's result, or why there is none; and who worked at it."""

    item: Any
    result: Any = None
    error: str = ''
    worker: str = ''


class RayWorkers:
    """Processes that each make a function once and call it with items, one at a time.

    make: called in each worker, gives the function; picklable, so that its module must be
        installed where the workers are. count: workers. cpus, gpus: what each gets; torch uses
        as many threads. address: of a cluster ('auto': the one that this machine is in);
        'local' starts one here for this run alone.

    Raises:
        MissingDependencyError: Ray is not installed.
        WorkersError: the cluster is not there, or too small. One CPU of it stays free for Ray's
            own work: where workers take all, nothing ever begins.
    """

    def __init__(
        self,
        make: Callable[[], Callable[[Any], Any]],
        count: int = 1,
        *,
        cpus: float = 1,
        gpus: float = 0,
        address: str = LOCAL,
    ) -> None:
        if count < 1 or cpus <= 0 or gpus < 0:
            raise WorkersError(
                f'{count} workers of {cpus:g} CPUs and {gpus:g} GPUs; wanted at least one, with '
                'more than 0 CPUs'
            )
        self._ray = _ray()
        self.counts: Counter[str] = Counter()
        self._start(address, math.ceil(count * cpus) + 1)
        try:
            self._check_room(count, cpus, gpus)
            actor = self._ray.remote(_Worker).options(
                num_cpus=cpus, num_gpus=gpus, max_restarts=-1, max_task_retries=0
            )
            threads = max(1, int(cpus))
            self._actors = [actor.remote(make, threads) for _ in range(count)]
        except BaseException:
            self.close()
            raise

    def map(self, items: Iterable[Any]) -> Iterator[Done]:
        """Results as they come, in any order; an item is taken when a worker is free for it."""
        source, again = iter(items), deque[Any]()
        deaths: Counter[int] = Counter()  # by what an item is in this process
        resting = {actor.ready.remote(): actor for actor in self._actors}
        working: dict[Any, tuple[Any, Any]] = {}
        free: deque[Any] = deque()
        ever, seen_at = False, time.monotonic()
        while True:
            while free and (job := _taken(again, source)):
                actor = free.popleft()
                working[actor.work.remote(job[0])] = (actor, job[0])
            if not working and not again and free:
                return
            refs, _ = self._ray.wait([*resting, *working], timeout=_POLL_S)
            for ref in refs:
                if ref in resting:
                    actor = resting.pop(ref)
                    if self._is_ready(ref, deaths, ever):
                        free.append(actor)
                        ever = True
                    else:
                        resting[actor.ready.remote()] = actor
                    continue
                actor, item = working.pop(ref)
                done, alive = self._done(ref, item)
                if alive:
                    free.append(actor)
                else:
                    resting[actor.ready.remote()] = actor
                    deaths[id(item)] += 1
                    if deaths[id(item)] < DEATHS:
                        again.append(item)
                        continue
                yield done
            if working or free:
                seen_at = time.monotonic()
            elif time.monotonic() - seen_at > (ALONE_S if ever else START_S):
                raise WorkersError(
                    f'no worker for {ALONE_S if ever else START_S:.0f} s: the cluster has not '
                    'what they ask for any more; what is done is kept, run the same again'
                )

    def close(self) -> None:
        """Ends the workers, and the cluster if it was started for them."""
        self._actors = []
        self._ray.shutdown()

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, address: str, cpus: int) -> None:
        local = address == LOCAL
        _check_listens(address)
        os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
        size = {'num_cpus': cpus, 'include_dashboard': False} if local else {}
        try:
            self._ray.init(address=address, log_to_driver=False, logging_level='error', **size)
        except (ConnectionError, ValueError, RuntimeError, TimeoutError, OSError) as error:
            raise WorkersError(f'Ray at {address}: {_reason(error)}') from error

    def _check_room(self, count: int, cpus: float, gpus: float) -> None:
        there = self._ray.cluster_resources()
        for name, each, spare in (('CPU', cpus, 1), ('GPU', gpus, 0)):
            has = there.get(name, 0)
            if count * each > has - spare and each:
                kept = ', and one CPU has to stay free for Ray itself' if spare else ''
                raise WorkersError(
                    f'{count} workers of {each:g} {name} each need {count * each:g}, and the '
                    f'cluster has {has:g}{kept}: use fewer workers, or less for each'
                )

    def _is_ready(self, ref: Any, deaths: Counter[int], ever: bool) -> bool:
        """Whether a worker has its function; raises what making it raised."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(ref)
        except errors.RayTaskError as error:
            raise WorkersError(f'a worker cannot start: {_reason(error)}') from error
        except errors.RayActorError as error:
            deaths[0] += 1
            if not ever and deaths[0] > DEATHS:
                raise WorkersError(f'workers die while they start: {_reason(error)}') from error
            return False

    def _done(self, ref: Any, item: Any) -> tuple[Done, bool]:
        """An item's result, and whether its worker is alive."""
        errors = self._ray.exceptions
        try:
            result, worker = self._ray.get(ref)
        except errors.RayTaskError as error:
            return Done(item, error=_reason(error)), True
        except errors.RayActorError as error:
            return Done(item, error=f'{DEATHS} workers died at it: {_reason(error)}'), False
        self.counts[worker] += 1
        return Done(item, result, worker=worker), True


class _Worker:
    """What an actor runs."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]], threads: int) -> None:
        self._make, self._threads = make, threads
        self._work: Callable[[Any], Any] | None = None

    def ready(self) -> bool:
        if self._work is None:
            import torch

            torch.set_num_threads(self._threads)
            self._work = self._make()
        return True

    def work(self, item: Any) -> tuple[Any, str]:
        self.ready()
        return self._work(item), f'{socket.gethostname()}:{os.getpid()}'


def _taken(again: deque[Any], source: Iterator[Any]) -> tuple[Any] | None:
    """The next item, of those whose worker died first."""
    if again:
        return (again.popleft(),)
    for item in source:
        return (item,)
    return None


def _check_listens(address: str) -> None:
    """Refuses a host and port where nothing listens; Ray itself would try for minutes."""
    host, _, port = address.rpartition(':')
    if '://' in address or not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise WorkersError(f'Ray at {address}: nothing answers there ({error})') from error


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError('ray', 'ray', 'work in several processes') from error
    return ray


def _reason(error: Exception) -> str:
    """One line of what Ray, or the work in it, raised."""
    cause = getattr(error, 'cause', None) or error
    if isinstance(cause, TosaError):
        return str(cause)
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return printable(f'{type(cause).__name__}: {lines[0] if lines else "no more is known"}')
