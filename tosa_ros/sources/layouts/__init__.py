"""The layouts of folders, by name: one module each, and from other packages by entry points."""

from __future__ import annotations

from pathlib import Path

from tosa_ros.errors import FrameError
from tosa_ros.registry import Registry
from tosa_ros.sources.layouts.layout import Layout

HERE = 'tosa_ros.sources.layouts'
_OWN = (
    'openeqa',
    'redwood',
    'scannet',
    'posed_images',
    'tum',
    '7scenes',
    'replica',
    'polycam',
    'record3d',
    'arkitscenes',
    'nerfstudio',
    'photos',
)
_MODULES = {'7scenes': 'seven_scenes'}  # no module's name begins with a digit
LAYOUTS: Registry[Layout] = Registry(
    'folder layout',
    'tosa_ros.layouts',
    {name: f'{HERE}.{_MODULES.get(name, name)}:LAYOUT' for name in _OWN},
    base=f'{HERE}.layout:Layout',
    error=FrameError,
)


def layout_of(folder: Path) -> str:
    """The name of a folder's layout, found by its files.

    Raises:
        FrameError: a folder of no layout, or of several.
    """
    known, found = _recognised(folder)
    if len(found) > 1:
        raise FrameError(
            f'{folder}: may be of the layouts {" and ".join(found)}; name one (--layout)'
        )
    if not found:
        wanted = '; '.join(f'{one.wanted} ({name})' for name, one in known.items())
        raise FrameError(f'{folder}: no colour images; wanted {wanted}')
    return found[0]


def is_of_photos(folder: Path) -> bool:
    """Whether a folder has pictures, and is of no layout that is found by its files."""
    return not _recognised(folder)[1] and LAYOUTS['photos'].matches(folder)


def _recognised(folder: Path) -> tuple[dict[str, Layout], list[str]]:
    """The layouts that are found by files, and the names of those that this folder shows."""
    known = {name: one for name, one in LAYOUTS.loaded().items() if one.recognised}
    return known, [name for name, one in known.items() if one.matches(folder)]
