"""Merging methods by their names, with the settings that a user gave: for every front end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from tosa_ros.errors import MergingError
from tosa_ros.merging.methods import MergingMethod
from tosa_ros.registry import Registry
from tosa_ros.settings import merging

METHODS: Registry[type[MergingMethod]] = merging.METHODS


def method_from(name: str, given: Mapping[str, Any] | None = None) -> MergingMethod:
    """The merging method of a name with what was given of its settings; the rest by default.

    Raises:
        MergingError: no such method, a setting that it does not have, or a bad value.
    """
    cls, given = METHODS[name], given or {}
    own = settings_of(name)
    for setting in given:
        if setting not in own:
            others = [other for other in METHODS.loaded() if setting in settings_of(other)]
            where = f'; wanted one of {", ".join(others)} for it' if others else ''
            raise MergingError(f'{setting}: the method {name} has no such setting{where}')
    return cls(**given)


def settings_of(name: str) -> list[str]:
    """The names of the settings that a method has.

    Raises:
        MergingError: no such method.
    """
    cls = METHODS[name]
    return [field.name for field in fields(cls) if field.name not in cls.fixed]


def shared_out(names: Iterable[str], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Of settings given for several methods, those that each has, by method.

    Raises:
        MergingError: no such method, or a setting that none of them has.
    """
    shares = {
        name: {setting: value for setting, value in given.items() if setting in settings_of(name)}
        for name in names
    }
    for setting, value in given.items():
        if not any(setting in share for share in shares.values()):
            for name in shares:
                method_from(name, {setting: value})
    return shares
