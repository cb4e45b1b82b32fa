"""Messages of one instant -> Frame, whatever they lack.

What is wrong is reported, and the frame is made without it: colour always gives a frame, depth
that cannot be used gives one without depth, a camera that is not calibrated one without camera.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tosa_ros.depth import SensorDepth, fitting
from tosa_ros.depth.fitting import same_aspect
from tosa_ros.errors import DepthError, RosError
from tosa_ros.frames import (
    NO_DOUBT,
    PLAUSIBLE_MEDIAN_DEPTH_M,
    DepthDoubt,
    Frame,
    Intrinsics,
    depth_range,
    median_depth,
)
from tosa_ros.messages.cameras import Camera, camera_from_info
from tosa_ros.messages.stamps import stamp_s
from tosa_ros.messages.transports import depth_from_message, rgb_from_message

PATIENCE_FRAMES = 5
# What 16UC1 is by REP-118, for a driver's aligned depth that skips depth_node.
MILLIMETRES = SensorDepth(scale=1000)


class FrameBuilder:
    """Makes frames of colour, depth and camera_info messages.

    report: called with what is at fault ('depth', 'camera_info') and a line about it.
    doubts: what whoever made the depth does not know for sure of it. sensor: what 16-bit depth is
    in. Both may be set at any time.
    """

    def __init__(self, report: Callable[[str, str], None], rectified: bool = False) -> None:
        self._report, self._rectified = report, rectified
        self._camera: Camera | None = None
        self._frames_without = 0
        self.doubts, self.sensor = NO_DOUBT, MILLIMETRES

    def camera_info(self, message: Any) -> None:
        """Takes the colour camera's calibration, for the frames from now on."""
        self._camera = camera_from_info(message, self._rectified)

    def frame(self, colour: Any, depth: Any | None, relative: bool = False) -> Frame:
        """The frame of a colour message and the depth message that belongs to it, if any.

        relative: depth is 0 to 1, 1 nearest, rather than metres.

        Raises:
            RosError: the colour image cannot be read.
        """
        rgb = rgb_from_message(colour)
        height, width = rgb.shape[:2]
        pixels, doubts = None, self.doubts
        if depth is not None:
            try:
                pixels = depth_pixels(depth, width, height, relative, self.sensor)
                doubts |= self._alignment(colour.header.frame_id, depth.header.frame_id)
            except RosError as error:
                self._report('depth', f'{error}: image tokens merge by appearance alone')
        return Frame(
            rgb=rgb,
            depth_m=None if relative else pixels,
            relative_depth=pixels if relative else None,
            intrinsics=self._intrinsics(width, height),
            stamp=stamp_s(colour.header.stamp),
            # No sensor gives depth without a scale.
            doubts=doubts | DepthDoubt.ESTIMATED if relative else doubts,
        )

    def _alignment(self, colour: str, depth: str) -> DepthDoubt:
        if same_frame(colour, depth):
            return NO_DOUBT
        self._report(
            'frames',
            f'depth is in the frame {depth!r}, colour in {colour!r}: depth is used as if it '
            "were aligned to colour; if it is not, use the driver's aligned depth, or "
            'depth_node with register: true',
        )
        return DepthDoubt.ALIGNED

    def _intrinsics(self, width: int, height: int) -> Intrinsics | None:
        if self._camera is None:
            # At the start it may come after the first images.
            self._frames_without += 1
            if self._frames_without > PATIENCE_FRAMES:
                self._report(
                    'camera_info',
                    'camera_info: none has arrived yet, so there are no metric points',
                )
            return None
        camera, note = self._camera
        if note:
            self._report('camera_info', note)
        if camera is None or (camera.width, camera.height) == (width, height):
            return camera
        if not same_aspect(camera.width, camera.height, width, height):
            self._report(
                'camera_info',
                f'camera_info: for {camera.width}x{camera.height} pixels, but the image has '
                f'{width}x{height}, so there are no metric points; is it from another camera?',
            )
            return None
        return camera.scaled(width, height)


def same_frame(colour: str, depth: str) -> bool:
    """Whether two frame ids say that depth is on colour's pixels."""
    return colour.lstrip('/') == depth.lstrip('/') and names_a_frame(depth)


def names_a_frame(frame_id: str) -> bool:
    """Whether a frame id has a letter; without one it is of a recorder that knows of no frames."""
    return any(letter.isalpha() for letter in frame_id)


def depth_pixels(
    message: Any,
    width: int,
    height: int,
    relative: bool = False,
    sensor: SensorDepth = MILLIMETRES,
) -> np.ndarray:
    """Depth of a width x height colour image: (height, width) float32, NaN where there is none.

    Depth of another size but the same view is enlarged or reduced without blending pixels.

    sensor: what 16-bit depth is in.

    Raises:
        RosError: depth that cannot be read, of another view, without one valid pixel, or not
            in the units that it should be in.
    """
    raw = fitted(depth_from_message(message), width, height)
    if relative:
        return _relative_pixels(raw)
    depth = sensor.from_array(raw) if raw.dtype == np.uint16 else sensor.from_metric(raw)
    median = median_depth(depth)
    if math.isnan(median):
        raise _none_valid(raw)
    _check_median(median)
    return depth


def _relative_pixels(raw: np.ndarray) -> np.ndarray:
    if raw.dtype == np.uint16:
        raise RosError('relative_depth: encoding 16UC1; wanted 32FC1, 0 to 1')
    # By REP 117 infinities are too near or too far.
    depth = np.where((raw >= 0) & (raw < np.inf), raw, np.float32(np.nan))
    _, most = depth_range(depth)
    if math.isnan(most):
        raise _none_valid(raw)
    if most > 1:
        raise RosError(
            f'relative_depth: values up to {most:.4g}; wanted 0 to 1, 1 nearest '
            '(depth in metres belongs on the topic depth)'
        )
    return depth


def _none_valid(raw: np.ndarray) -> RosError:
    return RosError(f'depth: none of its {raw.size} pixels is valid')


def fitted(depth: np.ndarray, width: int, height: int) -> np.ndarray:
    """Depth of the same view -> (height, width), without blending pixels.

    Raises:
        RosError: depth of another view.
    """
    try:
        return fitting.fitted(depth, width, height)
    except DepthError as error:
        raise RosError(
            f"depth: {error}; use the driver's aligned depth, or depth_node with register: true"
        ) from error


def check_units(depth_m: np.ndarray) -> None:
    """Raises RosError if depth, NaN where there is none, can hardly be in metres."""
    _check_median(median_depth(depth_m))


def _check_median(median: float) -> None:
    low, high = PLAUSIBLE_MEDIAN_DEPTH_M
    if median < low or median > high:  # NaN, of no depth at all, is neither
        raise RosError(
            f'depth: its median is {median:.4g} m, outside {low} to {high} m; is it in other '
            'units (32FC1 is in metres, 16UC1 in millimetres)?'
        )
