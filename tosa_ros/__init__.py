"""tosa_ros: ask a robot about what it sees, with spatially aware token merging (ToSA).

Public names load on first use, so that importing the package costs next to nothing and pulls
in neither torch, transformers, open3d nor rclpy.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # For type checkers, the names of _HOMES.
    from tosa_ros.depth import MonocularDepth as MonocularDepth
    from tosa_ros.depth import SensorDepth as SensorDepth
    from tosa_ros.errors import TosaError as TosaError
    from tosa_ros.frames import Frame as Frame
    from tosa_ros.frames import Intrinsics as Intrinsics
    from tosa_ros.merging import NoMerging as NoMerging
    from tosa_ros.merging import PiToMe as PiToMe
    from tosa_ros.merging import ToFu as ToFu
    from tosa_ros.merging import ToMe as ToMe
    from tosa_ros.merging import ToSA as ToSA
    from tosa_ros.pipeline import Answer as Answer
    from tosa_ros.pipeline import VqaPipeline as VqaPipeline
    from tosa_ros.vision import merge_tokens as merge_tokens
    from tosa_ros.vlm import Answerer as Answerer
    from tosa_ros.vlm import VisionEncoder as VisionEncoder

__version__ = '0.1.0'

# Where torchao is installed, transformers imports it, and it warns of each of its libraries that
# is for another GPU. A filter, as torch sets the levels of loggers when it is imported.
for _name in ('torchao', 'torch.utils._pytree'):
    logging.getLogger(_name).addFilter(lambda record: record.levelno >= logging.ERROR)

_HOMES = {
    'Answer': 'tosa_ros.pipeline',
    'Answerer': 'tosa_ros.vlm',
    'Frame': 'tosa_ros.frames',
    'Intrinsics': 'tosa_ros.frames',
    'MonocularDepth': 'tosa_ros.depth',
    'NoMerging': 'tosa_ros.merging',
    'PiToMe': 'tosa_ros.merging',
    'SensorDepth': 'tosa_ros.depth',
    'ToFu': 'tosa_ros.merging',
    'ToMe': 'tosa_ros.merging',
    'ToSA': 'tosa_ros.merging',
    'TosaError': 'tosa_ros.errors',
    'VisionEncoder': 'tosa_ros.vlm',
    'VqaPipeline': 'tosa_ros.pipeline',
    'merge_tokens': 'tosa_ros.vision',
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
