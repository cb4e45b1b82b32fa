"""The layouts of folders, by name: one module each, and from other packages by entry points."""

from __future__ import annotations

from pathlib import Path

from tosa_ros.errors import FrameError
from tosa_ros.registry import Registry
from tosa_ros.sources.layouts.layout import Layout

HERE = 'tosa_ros.sources.layouts'
LAYOUTS: Registry[Layout] = Registry(
    'folder layout',
    'tosa_ros.layouts',
    {
        'openeqa': f'{HERE}.openeqa:LAYOUT',
        'redwood': f'{HERE}.redwood:LAYOUT',
        'photos': f'{HERE}.photos:LAYOUT',
    },
    base=f'{HERE}.layout:Layout',
    error=FrameError,
)


def layout_of(folder: Path) -> str:
    """The name of a folder's layout, found by its files.

    Raises:
        FrameError: a folder of no layout, or of several.
    """
    known = {name: one for name, one in LAYOUTS.loaded().items() if one.recognised}
    found = [name for name, one in known.items() if one.matches(folder)]
    if len(found) > 1:
        raise FrameError(f'{folder}: may be of the layouts {" and ".join(found)}; name one')
    if not found:
        wanted = '; '.join(f'{one.wanted} ({name})' for name, one in known.items())
        raise FrameError(f'{folder}: no colour images; wanted {wanted}')
    return found[0]
