"""Work done ahead in threads, while its results are used one by one in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar('T')
R = TypeVar('R')


def ahead(
    items: Iterable[T], work: Callable[[T], R], count: int = 1, threads: int = 1
) -> Iterator[R]:
    """What `work` makes of each item, in order; it works up to `count` items ahead.

    Items are taken in the caller's thread. An error comes where its item's result would. Who stops
    early waits for what has begun, and no more.
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix='ahead') as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for left in waiting:
                left.cancel()
