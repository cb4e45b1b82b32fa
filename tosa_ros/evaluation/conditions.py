"""What the model is shown of a frame: which depth it has, or a black picture."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tosa_ros.errors import DataError
from tosa_ros.frames import Frame

if TYPE_CHECKING:
    from tosa_ros.merging import MergingMethod

DEPTHS = ('sensor', 'noisy', 'monocular', 'none')
Change = Callable[[Frame], Frame]


def shown(
    depth: str, *, blind: bool = False, estimate: Change | None = None, rotate: int = 0
) -> Change | None:
    """A function from a benchmark's frame to what the model is shown; None changes nothing.

    Args:
        depth: 'sensor' (the frame's own), 'noisy' (its own, with a real camera's noise, steps and
            holes), 'monocular' (estimated from colour), or 'none'.
        blind: black pictures without depth, to learn what the questions give away.
        estimate: replaces a frame's depth by an estimate; for 'monocular'.
        rotate: how far each frame is turned clockwise before anything else, degrees.

    Raises:
        DataError: no such depth, or none that could be estimated.
    """
    change = _shown(depth, blind, estimate)
    if rotate == 0:
        return change
    if change is None:
        return lambda frame: frame.turned(rotate)
    return lambda frame: change(frame.turned(rotate))


def _shown(depth: str, blind: bool, estimate: Change | None) -> Change | None:
    if blind:
        return lambda frame: Frame(np.zeros_like(frame.rgb), stamp=frame.stamp)
    if depth == 'monocular':
        if estimate is None:
            raise DataError('depth: monocular needs an estimator')
        return estimate
    known: dict[str, Change | None] = {
        'sensor': None,
        'noisy': noisy,
        'none': lambda frame: frame.without_depth(),
    }
    if depth not in known:
        raise DataError(f'depth: {depth!r}; wanted one of {", ".join(DEPTHS)}')
    return known[depth]


def noisy(frame: Frame) -> Frame:
    """The frame with its depth as a cheap depth camera measures it; the same on every call.

    Raises:
        DataError: the frame has no depth in metres, or no intrinsics.
    """
    from dataclasses import replace

    from tosa_ros.synthetic.render import pixel_rays
    from tosa_ros.synthetic.sensor import SensorModel

    if not frame.has_metric_points:
        lack = 'intrinsics' if frame.depth_m is not None else 'depth in metres'
        raise DataError(f'depth: noisy needs frames with {lack}, which these do not have')
    draws = np.random.default_rng(zlib.crc32(np.ascontiguousarray(frame.rgb)))
    with np.errstate(invalid='ignore'):  # where depth is missing already
        depth = SensorModel().measure(
            frame.depth_m, frame.rgb, pixel_rays(frame.intrinsics), draws
        )
    return replace(frame, depth_m=depth)


def check_spatial(frames: Sequence[Frame], method: MergingMethod) -> None:
    """Raises DataError if a method should use depth that a frame does not have."""
    wanted = getattr(method, 'spatial', 'auto')
    if wanted == 'auto':
        return
    for index, frame in enumerate(frames):
        has_depth = frame.depth_m is not None or frame.relative_depth is not None
        if not has_depth or (wanted == 'metric' and not frame.has_metric_points):
            lack = 'depth' if wanted == 'levels' or not has_depth else 'metres or no intrinsics'
            raise DataError(f'spatial: {wanted}, but frame {index} has no {lack}')
