"""Kinds of values that a setting may have: what is allowed, and how it is written as text.

Each kind checks a Python value, reads one from text (a command line, a ROS string) and writes it
as text again. Those that ROS has a type for travel in it, the others as text. What is not allowed
raises ValueError or TypeError here; `setting` makes one line of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral, Real
from typing import Any


class Kind:
    """Any text; the base of the other kinds."""

    @property
    def ros(self) -> str:
        """The ROS type."""
        return 'string'

    @property
    def metavar(self) -> str:
        """What stands for the value in a command's help."""
        return 'TEXT'

    @property
    def allowed(self) -> str:
        """The range or the choices, for a table; empty where any value of the type goes."""
        return ''

    @property
    def wanted(self) -> str:
        """What is allowed, in words that follow 'wanted'."""
        return 'text'

    def checked(self, value: Any) -> Any:
        """The value as it is used."""
        if not isinstance(value, str):
            raise TypeError
        return value

    def parse(self, text: str) -> Any:
        """The value that a text stands for."""
        return self.checked(text)

    def text(self, value: Any) -> str:
        """The text that `parse` reads as this value."""
        return str(value)

    def to_ros(self, value: Any) -> Any:
        """The value as a ROS parameter."""
        return self.text(value)

    def from_ros(self, value: Any) -> Any:
        """The value that a ROS parameter stands for; a number stands for its text."""
        if isinstance(value, str):
            return self.parse(value)
        if isinstance(value, bool | bytes):
            raise TypeError
        if isinstance(value, int | float):
            return self.parse(repr(value))
        return self.parse(','.join(map(repr, value)))


class Flag(Kind):
    """True or False."""

    ros = property(lambda self: 'bool')
    metavar = property(lambda self: 'true|false')
    wanted = property(lambda self: 'true or false')

    def checked(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise TypeError
        return value

    def parse(self, text: str) -> bool:
        return {'true': True, 'false': False}[text.lower()]

    def text(self, value: bool) -> str:
        return str(value).lower()

    def to_ros(self, value: bool) -> bool:
        return value

    from_ros = checked


@dataclass(frozen=True)
class Choice(Kind):
    """One of some names; those of a registry are read when they are needed."""

    choices: Collection[str]

    @property
    def metavar(self) -> str:
        return f'{{{",".join(self.choices)}}}'

    @property
    def allowed(self) -> str:
        return ', '.join(self.choices)

    @property
    def wanted(self) -> str:
        return f'one of {self.allowed}'

    def checked(self, value: Any) -> str:
        if not isinstance(value, str) or value not in self.choices:
            raise ValueError
        return value


@dataclass(frozen=True)
class Number(Kind):
    """A number from `low` to `high`, where there are such; a whole one, or any.

    above: `low` itself is not allowed. what: what it is, where 'a number' says too little.
    """

    low: float | None = None
    high: float | None = None
    above: bool = False
    whole: bool = False
    what: str = ''

    @property
    def ros(self) -> str:
        return 'int' if self.whole else 'double'

    @property
    def metavar(self) -> str:
        return 'N' if self.whole else 'X'

    @property
    def allowed(self) -> str:
        if self.low is None:
            return ''
        if self.above:
            most = '' if self.high is None else f' and at most {_plain(self.high)}'
            return f'above {_plain(self.low)}{most}'
        low = _plain(self.low)
        return f'{low} or more' if self.high is None else f'{low} to {_plain(self.high)}'

    @property
    def wanted(self) -> str:
        what = self.what or ('a whole number' if self.whole else 'a number')
        return f'{what}, {self.allowed}' if self.allowed else what

    def checked(self, value: Any) -> Any:
        if not isinstance(value, Integral if self.whole else Real) or isinstance(value, bool):
            raise TypeError
        inside = value == value  # NaN is not.
        if self.low is not None:
            inside = inside and (value > self.low if self.above else value >= self.low)
        if self.high is not None:
            inside = inside and value <= self.high
        if not inside:
            raise ValueError
        return value

    def parse(self, text: str) -> Any:
        return self.checked(int(text) if self.whole else float(text))

    def text(self, value: Any) -> str:
        return repr(self.to_ros(value))

    def to_ros(self, value: Any) -> Any:
        return int(value) if self.whole else float(value)

    def from_ros(self, value: Any) -> Any:
        """As `checked`; a whole number is taken for a double, as ROS does not by itself."""
        return self.checked(float(value) if not self.whole and type(value) is int else value)


@dataclass(frozen=True)
class Numbers(Kind):
    """Several numbers, as 0.1,0.5 in text; kept as a tuple.

    count: how many, where that is fixed. rising: each is above the one before.
    """

    of: Number
    count: int | None = None
    rising: bool = False
    what: str = 'numbers'

    @property
    def ros(self) -> str:
        return 'double[]'

    @property
    def metavar(self) -> str:
        return f'{self.of.metavar},{self.of.metavar}'

    @property
    def allowed(self) -> str:
        return f'{self.count} {self.what}' if self.count else self.what

    wanted = allowed

    def checked(self, value: Any) -> tuple[Any, ...]:
        if isinstance(value, str | bytes | set) or not isinstance(value, Collection):
            raise TypeError
        numbers = tuple(self.of.checked(number) for number in value)
        if not numbers or (self.count and len(numbers) != self.count):
            raise ValueError
        if self.rising and any(b <= a for a, b in pairwise(numbers)):
            raise ValueError
        return numbers

    def parse(self, text: str) -> tuple[Any, ...]:
        return self.checked([self.of.parse(number) for number in text.split(',')])

    def text(self, value: Any) -> str:
        return ','.join(map(self.of.text, value))

    def to_ros(self, value: Any) -> list[float]:
        return [float(number) for number in value]

    def from_ros(self, value: Any) -> tuple[Any, ...]:
        if isinstance(value, str):
            raise TypeError
        return self.checked([self.of.from_ros(number) for number in value])


@dataclass(frozen=True)
class Either(Kind):
    """One of several kinds, as text in ROS; text is read by the first kind that can."""

    kinds: tuple[Kind, ...]
    what: str = ''

    @property
    def metavar(self) -> str:
        return '|'.join(dict.fromkeys(kind.metavar for kind in self.kinds))

    @property
    def allowed(self) -> str:
        return self.what or ', or '.join(kind.wanted for kind in self.kinds)

    wanted = allowed

    def checked(self, value: Any) -> Any:
        return self._first(lambda kind: kind.checked(value))

    def parse(self, text: str) -> Any:
        return self._first(lambda kind: kind.parse(text))

    def text(self, value: Any) -> str:
        return self._first(lambda kind: kind.text(kind.checked(value)))

    def _first(self, use: Callable[[Kind], Any]) -> Any:
        for kind in self.kinds:
            try:
                return use(kind)
            except (ValueError, TypeError, KeyError):
                continue
        raise ValueError


@dataclass(frozen=True)
class Maybe(Kind):
    """Another kind, or None, which the empty text stands for; as text in ROS."""

    of: Kind
    none: str

    @property
    def metavar(self) -> str:
        return self.of.metavar

    @property
    def allowed(self) -> str:
        return self.of.allowed

    @property
    def wanted(self) -> str:
        return self.of.wanted

    def checked(self, value: Any) -> Any:
        return None if value is None else self.of.checked(value)

    def parse(self, text: str) -> Any:
        return self.of.parse(text) if text.strip() else None

    def text(self, value: Any) -> str:
        return '' if value is None else self.of.text(value)


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else f'{number:g}'
