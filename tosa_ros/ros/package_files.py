"""Where config/ and launch/ lie: in the source tree, a pip prefix or an ament prefix."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tosa_ros.errors import RosError


def shared_file(name: str) -> Path:
    """The path of a file that ships with the package, such as 'config/vqa.yaml'.

    Raises:
        RosError: it is in none of the places where an installation puts it.
    """
    ament = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    shares = [Path(prefix) / 'share' / 'tosa_ros' for prefix in [*ament, sys.prefix] if prefix]
    # An editable or symlinked installation runs from the source tree.
    for folder in (Path(__file__).parents[2], *shares):
        if (folder / 'package.xml').is_file() and (folder / name).is_file():
            return folder / name
    raise RosError(
        f'{name}: not found in the source tree, in {sys.prefix}/share or in AMENT_PREFIX_PATH; '
        'is the installation complete?'
    )
