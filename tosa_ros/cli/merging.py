"""Options of the merging methods, made from the table of settings, and the methods they name."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tosa_ros.settings import METHOD, METHODS, SETTINGS, Choice, Flag, Maybe, Number, Setting

if TYPE_CHECKING:
    from tosa_ros.merging import MergingMethod


def add_setting(group: argparse._ArgumentGroup, row: Setting, **changes: Any) -> None:
    """A setting's option, None where it is not given; `changes` as argparse's add_argument."""
    kind = row.kind.of if isinstance(row.kind, Maybe) else row.kind
    words = f'{row.help[:-1]} ({row.unset})' if row.unset else row.help
    changes = {'help': words.replace('%', '%%'), 'default': None, **changes}
    if isinstance(kind, Flag):
        changes['action'] = argparse.BooleanOptionalAction
    elif isinstance(kind, Choice):
        changes.setdefault('choices', list(kind.choices))
    else:
        changes.setdefault('metavar', row.unit.upper() or kind.metavar)
    if isinstance(kind, Number):
        changes['type'] = int if kind.whole else float
    group.add_argument(row.option, **changes)


def add_method_options(
    parser: argparse.ArgumentParser, *, several: Iterable[str] = (), keeps: bool = False
) -> None:
    """--method and an option for every setting of every method.

    several: --method may be repeated, and these are the methods without it. keeps: so may --keep.
    """
    group = parser.add_argument_group('merging')
    names = ', '.join(several)
    group.add_argument(
        METHOD.option,
        choices=list(METHODS),
        action='append' if names else 'store',
        default=None if names else METHOD.default,
        help=METHOD.help[:-1] + (f'; repeatable ({names})' if names else f' ({METHOD.default})'),
    )
    for row in SETTINGS.loaded().values():
        repeated = keeps and row.name == 'keep'
        words = {'help': f'{row.help[:-1]}; repeatable ({row.default})'} if repeated else {}
        add_setting(group, row, **words, action='append' if repeated else 'store')


def given(args: argparse.Namespace) -> dict[str, Any]:
    """The settings on the command line, by name; of a --keep that is repeated, a list.

    Raises:
        MergingError: text that stands for no value of a setting.
    """
    found = {}
    for name in SETTINGS:
        value = getattr(args, name, None)
        if value is not None:
            found[name] = SETTINGS[name].parse(value) if isinstance(value, str) else value
    return found


def method_from(args: argparse.Namespace) -> MergingMethod:
    """The merging method that the options describe.

    Raises:
        MergingError: a setting that the method does not have, or a bad value.
    """
    from tosa_ros import merging

    return merging.method_from(args.method, given(args))


def methods_from(args: argparse.Namespace, names: Iterable[str]) -> dict[str, MergingMethod]:
    """These methods by name, each with those of the given settings that it has.

    Raises:
        MergingError: a setting that none of the methods has, or a bad value.
    """
    from tosa_ros import merging

    shares = merging.shared_out(names, given(args))
    return {name: merging.method_from(name, share) for name, share in shares.items()}


def labelled_methods(args: argparse.Namespace, names: Iterable[str]) -> dict[str, MergingMethod]:
    """These methods with every --keep, by a label that is a folder's name, as tosa-0.25.

    Raises:
        MergingError: a setting that none of the methods has, or a bad value.
    """
    from tosa_ros import merging

    methods = {}
    for name, share in merging.shared_out(names, given(args)).items():
        one = 'keep' in merging.settings_of(name) and 'r' not in share
        for keep in share.pop('keep', [SETTINGS['keep'].default] if one else [None]):
            settings = share if keep is None else {'keep': keep, **share}
            methods[_label(name, settings)] = merging.method_from(name, settings)
    return methods


def _label(name: str, settings: dict[str, Any]) -> str:
    parts = [f'{settings["keep"]:g}'] if 'keep' in settings else []
    for setting, value in settings.items():
        if setting != 'keep':
            parts.append(f'{setting}-{SETTINGS[setting].kind.text(value)}')
    return '-'.join([name, *parts])
