"""Estimators of depth from colour alone, by name: an open table.

Importing this costs numpy; an estimator brings its own libraries in when it is loaded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from tosa_ros.errors import DepthError
from tosa_ros.frames import DepthDoubt, Frame
from tosa_ros.registry import Registry

DepthKind = Literal['metric', 'relative']


@dataclass(frozen=True, eq=False)
class DepthEstimate:
    """A depth map at the colour image's pixels; one of the two is None, as in a Frame.

    depth_m: (H, W) float32 metres.
    relative_depth: (H, W) float32 in 0..1, 1 nearest.
    """

    depth_m: np.ndarray | None = None
    relative_depth: np.ndarray | None = None


class DepthEstimator(ABC):
    """Estimates depth from a colour image.

    kind: 'metric' or 'relative', what every estimate of this model holds.
    """

    kind: DepthKind

    @classmethod
    @abstractmethod
    def from_pretrained(cls, path_or_id: str | Path, *, device: str = 'cpu') -> DepthEstimator:
        """Loads a model.

        Raises:
            DepthError: what cannot be found, read or used.
            ModelError: there is no such device.
        """

    @abstractmethod
    def estimate(self, rgb: np.ndarray) -> DepthEstimate:
        """Colour (H, W, 3) uint8 -> DepthEstimate at the same pixels."""

    def annotate(self, frame: Frame) -> Frame:
        """The frame with its depth estimated.

        Raises:
            DepthError: a frame that has depth; `frame.without_depth()` drops it.
        """
        if frame.depth_m is not None or frame.relative_depth is not None:
            raise DepthError(
                'annotate: the frame has depth already; give frame.without_depth() to replace it'
            )
        estimated = vars(self.estimate(frame.rgb))
        return replace(frame, **estimated, doubts=DepthDoubt.ESTIMATED)


ESTIMATORS: Registry[type[DepthEstimator]] = Registry(
    'depth estimator',
    'tosa_ros.depth',
    {'depth-anything': 'tosa_ros.depth.monocular:MonocularDepth'},
    base='tosa_ros.depth.estimators:DepthEstimator',
    error=DepthError,
)


def load_estimator(model: str | Path, *, device: str = 'cpu') -> DepthEstimator:
    """The estimator that 'NAME:MODEL' or 'NAME' names in ESTIMATORS; else Depth Anything.

    Raises:
        DepthError: what cannot be found, read or used.
        ModelError: there is no such device.
    """
    name, _, path = str(model).partition(':')
    if name not in ESTIMATORS:
        name, path = 'depth-anything', str(model)
    estimator = ESTIMATORS[name]
    return estimator.from_pretrained(path, device=device)
