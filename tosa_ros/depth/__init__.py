"""Where depth maps come from: a depth sensor, or an estimator that looks at colour alone.

Each source says by its `kind` whether it yields metres or unscaled relative depth. Importing
this costs numpy alone; MonocularDepth brings torch and transformers in on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol

from tosa_ros.depth.estimators import (
    ESTIMATORS,
    DepthEstimate,
    DepthEstimator,
    DepthKind,
    load_estimator,
)
from tosa_ros.depth.registration import register_coarsely, register_depth
from tosa_ros.depth.sensor import SensorDepth, read_depth

if TYPE_CHECKING:
    from tosa_ros.depth.monocular import MonocularDepth

__all__ = [
    'ESTIMATORS',
    'DepthEstimate',
    'DepthEstimator',
    'DepthKind',
    'DepthSource',
    'MonocularDepth',
    'SensorDepth',
    'load_estimator',
    'read_depth',
    'register_coarsely',
    'register_depth',
]


class DepthSource(Protocol):
    """What every source of depth maps says of itself.

    kind: 'metric' (its maps are a Frame's `depth_m`) or 'relative' (`relative_depth`).
    """

    @property
    def kind(self) -> DepthKind: ...


def __getattr__(name: str) -> Any:
    if name != 'MonocularDepth':
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module('tosa_ros.depth.monocular'), name)
