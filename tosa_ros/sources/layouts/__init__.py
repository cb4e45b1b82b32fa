"""The layouts of folders; a new one is a module and a row here, before those that match more."""

from __future__ import annotations

from pathlib import Path

from tosa_ros.errors import FrameError
from tosa_ros.sources.layouts import openeqa, redwood
from tosa_ros.sources.layouts.layout import Layout

LAYOUTS = (redwood.LAYOUT, openeqa.LAYOUT)


def layout_of(folder: Path) -> Layout:
    """The layout of a folder.

    Raises:
        FrameError: a folder of no known layout.
    """
    for layout in LAYOUTS:
        if layout.matches(folder):
            return layout
    wanted = '; '.join(layout.wanted for layout in reversed(LAYOUTS))
    raise FrameError(f'{folder}: no colour images; wanted {wanted}')
