"""PrefixCache: what the language model has read already, so that it is not read again.

Prompts about the same frames begin alike: the frames' tokens come before the question. The keys
and values of the latest prompt are kept, and the next one is read from where it differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import DynamicCache


class PrefixCache:
    """Keys and values of one prompt. Whoever takes them owns them until they are given back.

    causal: whether no row looks at rows behind it. reuse: whether what was read holds for other
    prompts; if not, nothing is kept.
    """

    def __init__(self, config: Any, causal: bool = True) -> None:
        self._config = config
        # A sliding window forgets the beginning, which is what would be used again.
        self.reuse = causal and not any(DynamicCache(config=config).is_sliding)
        self._keys: list[Any] = []
        self._cache: DynamicCache | None = None

    def take(self, keys: Sequence[Any]) -> tuple[DynamicCache, int]:
        """A cache of the longest beginning of `keys` that is at hand, and its length."""
        known = shared_rows([self._keys, keys]) if self._cache is not None else 0
        if not known:
            return DynamicCache(config=self._config), 0
        cache, self._cache = self._cache, None
        _shorten(cache, known)
        return cache, known

    def forget(self) -> None:
        """Keeps nothing."""
        self._keys, self._cache = [], None

    def give(self, keys: list[Any], cache: DynamicCache) -> None:
        """Keeps a cache that holds the first of `keys`, and perhaps others behind them all."""
        if not self.reuse:
            return
        _shorten(cache, len(keys))
        self._keys, self._cache = keys[: cache.get_seq_length()], cache


def shared_rows(prompts: Sequence[Sequence[Any]]) -> int:
    """How many rows at the beginning are the same in all prompts."""
    first, *others = prompts
    count = min(map(len, prompts))
    for other in others:
        low, high = 0, count  # Lists compare fast, so the place where they part is halved out.
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (
                (middle, high) if first[low:middle] == other[low:middle] else (low, middle - 1)
            )
        count = low
    return count


def _shorten(cache: DynamicCache, length: int) -> None:
    excess = cache.get_seq_length() - length
    if excess > 0:
        cache.crop(-excess)
