"""Depth from a sensor: 16-bit images and arrays in a stated unit, or float metres, to metres.

REP-118 has the encodings (16-bit millimetres, 0 invalid; float metres), REP-117 the float values
that are not measurements. Depth Anything and the like are in `depth.monocular`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from tosa_ros.depth.files import png_depth, stored_depth
from tosa_ros.errors import DepthError
from tosa_ros.frames import measured_depth


@dataclass(frozen=True, kw_only=True)
class SensorDepth:
    """Reads what a depth sensor wrote as whole numbers.

    scale: raw units per metre: 1000 for millimetres, 5000 for TUM RGB-D, 6553.5 for HM3D frames.
    """

    scale: float
    kind: ClassVar[Literal['metric']] = 'metric'

    def __post_init__(self) -> None:
        if not math.isfinite(self.scale) or self.scale <= 0:
            raise DepthError(
                f'depth scale: {self.scale}; wanted the raw units per metre, above 0 '
                '(1000 for millimetres, 5000 for TUM)'
            )

    def from_array(self, raw: np.ndarray) -> np.ndarray:
        """Raw depth (H, W) of an integer type -> (H, W) float32 metres, NaN where there is none.

        0 and less is missing depth, and of 16 bits so is the largest value: sensors write it for
        what is too far, and encoders for what they had to clip.

        Raises:
            DepthError: 8-bit, float or boolean values, or not a single channel.
        """
        raw = np.asarray(raw)
        if raw.ndim != 2:
            raise DepthError(f'depth: shape {raw.shape}; wanted one channel, (H, W)')
        if np.issubdtype(raw.dtype, np.floating):
            raise DepthError(
                f'depth: dtype {raw.dtype} holds metres already (REP-118); '
                'use SensorDepth.from_metric, which divides by nothing'
            )
        if not np.issubdtype(raw.dtype, np.integer) or raw.dtype.itemsize < 2:
            raise DepthError(
                f'depth: dtype {raw.dtype} is a picture of depth, not a measurement; wanted '
                'uint16 as the sensor wrote it (16UC1, a 16-bit PNG)'
            )
        metres = raw.astype(np.float32)
        metres /= np.float32(self.scale)
        # copyto is many times faster than np.where, and so is to look for the largest value.
        np.copyto(metres, np.float32(np.nan), where=raw <= 0)
        largest = np.iinfo(raw.dtype).max
        if raw.dtype.itemsize == 2 and raw.max(initial=0) == largest:
            np.copyto(metres, np.float32(np.nan), where=raw == largest)
        return metres

    def to_array(self, depth_m: np.ndarray, *, drop_far: bool = False) -> np.ndarray:
        """Metres (H, W) -> uint16 as the sensor writes them, 0 where there is no depth.

        What is nearer than half a unit becomes 1, as 0 would mean that it is not there.

        drop_far: what does not fit into 16 bits becomes 0, as with a sensor's range.

        Raises:
            DepthError: depth that does not fit, without `drop_far`.
        """
        depth = np.asarray(depth_m, np.float64)
        valid = np.isfinite(depth) & (depth > 0)
        units = np.maximum(np.rint(np.where(valid, depth, 1) * self.scale), 1)
        # The largest value would mean that there is none.
        far = valid & (units >= np.iinfo(np.uint16).max)
        if far.any() and not drop_far:
            raise DepthError(
                f'depth of {depth[far].max():.4g} m does not fit into 16 bits at {self.scale:g} '
                'units a metre; lower the depth scale'
            )
        return np.where(valid & ~far, units, 0).astype(np.uint16)

    def read_png(self, path: str | Path) -> np.ndarray:
        """A 16-bit grey PNG file -> (H, W) float32 metres, NaN where there is none.

        Raises:
            DepthError: a file that is missing, cut off, no PNG, or not 16-bit grey.
        """
        return self.from_array(png_depth(Path(path)))

    @staticmethod
    def from_metric(depth: np.ndarray) -> np.ndarray:
        """Float metres (H, W) as a sensor publishes them -> (H, W) float32, NaN where none.

        The result is the same array where it is as it should be already.
        0, negative values, NaN and both infinities (REP-117: too near, too far) are missing depth.

        Raises:
            DepthError: an integer type, which is raw, or not a single channel.
        """
        depth = np.asarray(depth)
        if depth.ndim != 2 or not np.issubdtype(depth.dtype, np.floating):
            raise DepthError(
                f'depth: shape {depth.shape}, dtype {depth.dtype}; wanted (H, W) float metres '
                '(raw whole numbers: SensorDepth(scale=...).from_array)'
            )
        with np.errstate(over='ignore'):
            return measured_depth(depth.astype(np.float32, copy=False))


def read_depth(
    path: str | Path, scale: float | None, float_scale: float | None = 1.0
) -> np.ndarray:
    """A depth file -> (H, W) float32 metres, NaN where there is none.

    Whole numbers are raw units. Floats are metres, unless somebody says otherwise: nearly all
    formats that hold floats mean metres.

    scale: raw units per metre of whole numbers. float_scale: the same of floats.

    Raises:
        DepthError: a file that cannot be read as depth, or a scale that is needed and None.
        MissingDependencyError: a library that reads its format is not installed.
    """
    stored = stored_depth(path)
    floats = np.issubdtype(stored.dtype, np.floating)
    units = float_scale if floats else scale
    if units is None:
        why = 'are its floats metres or millimetres?' if floats else 'its depth scale is missing'
        raise DepthError(f'{path}: {why}; wanted the units per metre, 1000 for millimetres')
    sensor = SensorDepth(scale=units)
    try:
        if floats:
            return sensor.from_metric(stored / np.float32(units))
        return sensor.from_array(stored)
    except DepthError as error:
        raise DepthError(f'{path}: {error}') from error
