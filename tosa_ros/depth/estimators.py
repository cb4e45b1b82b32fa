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
    needs_sensor: it refines a sensor's depth, so that colour alone is not enough.
    """

    kind: DepthKind
    needs_sensor: bool = False

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

    def estimate_frame(self, frame: Frame) -> DepthEstimate:
        """As `estimate`, for a model that uses more of a frame than its colour."""
        return self.estimate(frame.rgb)

    def annotate(self, frame: Frame) -> Frame:
        """The frame with its depth estimated.

        Raises:
            DepthError: a frame that has depth, which `replace_depth` replaces; or that has none in
                metres, for a model that `needs_sensor`.
        """
        if self.needs_sensor:
            if frame.depth_m is None:
                raise DepthError(
                    "annotate: the model refines a sensor's depth in metres; the frame has none"
                )
        elif frame.depth_m is not None or frame.relative_depth is not None:
            raise DepthError(
                'annotate: the frame has depth already; give frame.without_depth() to replace it'
            )
        estimated = vars(self.estimate_frame(frame))
        return replace(frame.without_depth(), **estimated, doubts=DepthDoubt.ESTIMATED)

    def replace_depth(self, frame: Frame) -> Frame:
        """As `annotate`, for a frame whose own depth is replaced, or refined if it needs to be."""
        return self.annotate(frame if self.needs_sensor else frame.without_depth())


ESTIMATORS: Registry[type[DepthEstimator]] = Registry(
    'depth estimator',
    'tosa_ros.depth',
    {'depth-anything': 'tosa_ros.depth.monocular:MonocularDepth'},
    base='tosa_ros.depth.estimators:DepthEstimator',
    error=DepthError,
)


def load_estimator(model: str | Path, *, device: str = 'cpu') -> DepthEstimator:
    """The estimator that 'NAME:MODEL' or 'NAME' names in ESTIMATORS; else a MonocularDepth.

    Raises:
        DepthError: what cannot be found, read or used.
        ModelError: there is no such device.
    """
    name, _, path = str(model).partition(':')
    if name not in ESTIMATORS:
        name, path = 'depth-anything', str(model)
    estimator = ESTIMATORS[name]
    return estimator.from_pretrained(path, device=device)
