"""Registry: an open table of named things of one kind, such as the merging methods.

Entries are objects or 'module:attribute' strings that are imported on first use, so that listing
the names costs nothing. Other packages add their own by an entry point of the registry's group.
"""

from __future__ import annotations

import difflib
import importlib
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Generic, TypeVar, overload

from tosa_ros.errors import TosaError

T = TypeVar('T')
NAME = re.compile(r'[a-z0-9][a-z0-9_-]*')


@dataclass(frozen=True)
class _Entry:
    item: Any
    origin: str
    checked: bool = False


class Registry(Generic[T]):
    """Names and what they stand for; `registry[name]`, `in`, `len`, and iteration over names.

    kind: what one entry is called in errors, as 'merging method'.
    group: the entry-point group by which other packages add theirs.
    known: this package's own entries, each an object or 'module:attribute'.
    base: 'module:Class' of which each entry is a subclass or an instance.
    error: the error for a name that is unknown, taken, or cannot be loaded.

    A package whose entry point is malformed, or whose name is taken, is left out with one warning
    that names it. One that cannot be imported raises when its name is asked for.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        known: Mapping[str, T | str] | None = None,
        *,
        base: str | None = None,
        error: type[TosaError] = TosaError,
    ) -> None:
        self.kind, self.group, self.base, self.error = kind, group, base, error
        self._entries: dict[str, _Entry] = {}
        self._discovered = False
        for name, item in (known or {}).items():
            self._add(name, item, item if isinstance(item, str) else _home(item))

    @overload
    def register(self, name: str) -> Callable[[T], T]: ...
    @overload
    def register(self, name: str, item: T | str) -> T | str: ...
    def register(self, name: str, item: Any = None) -> Any:
        """Adds an object or 'module:attribute'; without one, a decorator that adds what it gets.

        Raises:
            TosaError: (the registry's own) the name is taken, by what the message names, or
                cannot be a name.
        """
        if item is None:
            return lambda decorated: self.register(name, decorated)
        self._discover()
        self._add(name, item, item if isinstance(item, str) else _home(item))
        return item

    def unregister(self, name: str) -> None:
        """Removes an entry; for tests and notebooks that define it again."""
        self._discover()
        if self._entries.pop(name, None) is None:
            raise self.error(self.unknown(name))

    def __getitem__(self, name: str) -> T:
        """What the name stands for.

        Raises:
            TosaError: (the registry's own) the name is unknown, or cannot be imported.
        """
        if name not in self._entries:
            self._discover()
        if name not in self._entries:
            raise self.error(self.unknown(name))
        entry = self._entries[name]
        if not entry.checked:
            entry = _Entry(self._load(name, entry), entry.origin, checked=True)
            self._entries[name] = entry
        return entry.item

    def __contains__(self, name: object) -> bool:
        self._discover()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._discover()
        return iter(list(self._entries))

    def __len__(self) -> int:
        self._discover()
        return len(self._entries)

    def origin(self, name: str) -> str:
        """Where an entry comes from: a module and attribute, and the distribution, if another."""
        self._discover()
        return self._entries[name].origin

    def loaded(self) -> dict[str, T]:
        """All entries by name; those that cannot be imported are left out with one warning."""
        found: dict[str, T] = {}
        for name in self:
            try:
                found[name] = self[name]
            except TosaError as error:
                warnings.warn(f'left out: {error}', stacklevel=2)
                del self._entries[name]
        return found

    def unknown(self, name: object) -> str:
        """The error line for an unknown name: the known names, and the most similar one."""
        close = difflib.get_close_matches(str(name).lower(), list(self), n=1)
        hint = f'; did you mean {close[0]!r}?' if close else ''
        return f'{self.kind} {name!r}: wanted one of {", ".join(self)}{hint}'

    def _add(self, name: str, item: Any, origin: str) -> None:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise self.error(
                f'{self.kind} {name!r} (of {origin}): wanted a name of lower-case letters, '
                'digits, _ and -'
            )
        if name in self._entries:
            raise self.error(
                f'{self.kind} {name!r} is registered twice: from {self._entries[name].origin} and '
                f'from {origin}; rename one'
            )
        self._entries[name] = _Entry(item, origin)

    def _discover(self) -> None:
        """Adds the entry points of other packages, once."""
        if self._discovered:
            return
        self._discovered = True
        for point in metadata.entry_points(group=self.group):
            origin = f'{point.value} of {_distribution(point)}'
            try:
                self._add(point.name, point.value, origin)
            except TosaError as error:
                warnings.warn(f'{_distribution(point)} is left out: {error}', stacklevel=3)

    def _load(self, name: str, entry: _Entry) -> Any:
        """The entry's object, imported if need be, of the right base."""
        what = f'{self.kind} {name!r} (from {entry.origin})'
        try:
            item = _imported(entry.item) if isinstance(entry.item, str) else entry.item
            base = _imported(self.base) if self.base else object
        except TosaError:
            raise  # It says itself what is wanted, such as a package that is not installed.
        except Exception as error:
            reason = ' '.join(f'{type(error).__name__}: {error}'.split())
            raise self.error(f'{what} cannot be loaded: {reason}') from error
        if not (issubclass(item, base) if isinstance(item, type) else isinstance(item, base)):
            raise self.error(f'{what} is {item!r:.80}; wanted a {base.__name__}')
        return item


def _imported(path: str) -> Any:
    module, _, attribute = path.partition(':')
    item: Any = importlib.import_module(module.strip())
    for part in attribute.split('.'):
        item = getattr(item, part.strip())
    return item


def _home(item: Any) -> str:
    module = getattr(item, '__module__', None) or type(item).__module__
    return f'{module}:{getattr(item, "__qualname__", type(item).__qualname__)}'


def _distribution(point: metadata.EntryPoint) -> str:
    # On Python 3.10, an entry point may know no distribution.
    found = getattr(point, 'dist', None)
    return f'the distribution {found.name} {found.version}' if found else 'another distribution'
