"""Setting: one row of the tables, whatever reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tosa_ros.errors import TosaError
from tosa_ros.settings.kinds import Kind, Maybe


@dataclass(frozen=True)
class Setting:
    """One thing that a user may choose.

    help: a sentence, with a capital and a full stop.
    unit: of a number, such as 'm', 's' or 'Hz'.
    methods: the merging methods that have it, where it is one of theirs.
    read_only: of a node, it is set when the node starts and cannot be changed later.
    """

    name: str
    default: Any
    kind: Kind
    help: str
    unit: str = ''
    methods: tuple[str, ...] = ()
    read_only: bool = False

    @property
    def option(self) -> str:
        """The command line's option, as --merge-at."""
        return f'--{self.name.replace("_", "-")}'

    @property
    def allowed(self) -> str:
        """The range or the choices with the unit, in words; empty where any value goes."""
        return f'{self.kind.allowed} {self.unit}'.strip() if self.kind.allowed else ''

    @property
    def unset(self) -> str:
        """What holds where it is left out, in words."""
        if self.default is None and isinstance(self.kind, Maybe):
            return self.kind.none
        return self.kind.text(self.default)

    def checked(self, value: Any, error: type[TosaError] = TosaError) -> Any:
        """The value as it is used. Raises `error` for one that is not allowed."""
        return self._try(self.kind.checked, value, error)

    def parse(self, text: str, error: type[TosaError] = TosaError) -> Any:
        """The value that a text stands for. Raises `error` where it stands for none."""
        return self._try(self.kind.parse, text, error)

    def from_ros(self, value: Any, error: type[TosaError] = TosaError) -> Any:
        """The value of a ROS parameter. Raises `error` for one that is not allowed."""
        return self._try(self.kind.from_ros, value, error)

    def to_ros(self, value: Any) -> Any:
        """The value as a ROS parameter of type `kind.ros`."""
        return self.kind.to_ros(value)

    def _try(self, read: Any, value: Any, error: type[TosaError]) -> Any:
        try:
            return read(value)
        except (ValueError, TypeError, KeyError, OverflowError):
            unit = f' {self.unit}' if self.unit else ''
            raise error(
                f'{self.name}: {repr(value)[:80]}; wanted {self.kind.wanted}{unit}'
            ) from None
