"""OpenEQA's ScanNet and HM3D frames, which `tosa world` and `tosa bag` write too.

`<stem>-rgb.png` (or .jpg), `<stem>-depth.png`, `<stem>.txt` (4x4 camera-to-world),
`intrinsic_color.txt`, `intrinsic_depth.txt` (4x4). All but colour may be missing.
"""

from __future__ import annotations

from pathlib import Path

from tosa_ros.sources.layouts import redwood, stems
from tosa_ros.sources.layouts.layout import Layout


def matches(folder: Path) -> bool:
    """Whether there is a colour image of that name, and the poses are not as Redwood has them."""
    return bool(stems.colour_images(folder)) and not redwood.matches(folder)


LAYOUT = Layout(stems.WANTED, matches, stems.listing)
