"""Depth messages of a sensor -> metres, in the colour camera's pixels if asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tosa_ros.depth import SensorDepth, register_coarsely, register_depth
from tosa_ros.depth.fitting import fitted, same_aspect
from tosa_ros.errors import RosError
from tosa_ros.frames import NO_DOUBT, DepthDoubt, Intrinsics, depth_range
from tosa_ros.messages.cameras import camera_from_info
from tosa_ros.messages.frame_builder import check_units, same_frame
from tosa_ros.messages.transports import depth_from_message

# How far the calibrations of depth that is aligned may be apart, in fractions and pixels.
SAME_FOCAL = 0.01
SAME_CENTRE_PX = 2.0
Extrinsic = Callable[[str, str], np.ndarray]


class SensorReader:
    """Reads depth messages; settings may change between them.

    scale: raw units per metre of 16UC1. min_m, max_m: depth outside this range is missing.
    depth_to_colour: (4, 4), the depth camera's pose in the colour camera's frame, to register
        depth to colour by the two cameras' calibrations, or what gives it for the two frames'
        ids; None leaves depth where it is.
    rectified: the colour image is, so that P of its calibration holds.
    coarse: register no finer than the depth camera sees, for patches, not for pictures.
    beyond_m: the median of the last depth, metres, where all of it was outside of that range.
    """

    def __init__(
        self,
        scale: float = 1000.0,
        min_m: float = 0.0,
        max_m: float = float('inf'),
        depth_to_colour: np.ndarray | Extrinsic | None = None,
        rectified: bool = False,
        coarse: bool = False,
    ) -> None:
        self._register = register_coarsely if coarse else register_depth
        self.scale, self.min_m, self.max_m = scale, min_m, max_m
        self._depth_to_colour, self._rectified = depth_to_colour, rectified
        self._cameras: dict[str, Any] = {}
        self.beyond_m: float | None = None

    def camera_info(self, name: str, message: Any) -> None:
        """Takes the calibration of 'camera_info' (colour) or 'depth_camera_info'."""
        self._cameras[name] = message

    @property
    def knows_cameras(self) -> bool:
        """Whether both calibrations have arrived."""
        return len(self._cameras) == 2

    def doubts(self, frame_id: str) -> DepthDoubt:
        """What nothing shows of how the depth of a camera frame comes onto colour's pixels.

        ALIGNED: it is not registered, though its calibration is not colour's. PLACE: it is, with
        no distance between two frames that have two names.
        """
        if not self.knows_cameras:
            return NO_DOUBT
        if self._depth_to_colour is not None:
            apart = not same_frame(self._cameras['camera_info'].header.frame_id, frame_id)
            unmoved = np.array_equal(self._depth_to_colour, np.eye(4))
            return DepthDoubt.PLACE if apart and unmoved else NO_DOUBT
        colour = camera_from_info(self._cameras['camera_info'], self._rectified).intrinsics
        own = camera_from_info(self._cameras['depth_camera_info']).intrinsics
        if colour is None or own is None or same_camera(colour, own):
            return NO_DOUBT
        return DepthDoubt.ALIGNED

    def read(self, message: Any) -> tuple[np.ndarray, str]:
        """Depth (H, W) float32 metres, NaN where there is none, and the camera frame it is in.

        Raises:
            RosError: depth that cannot be read or is not in the units that it should be in, or a
                calibration that is missing or of another view than the depth image.
        """
        raw = depth_from_message(message)
        if raw.dtype == np.uint16:
            depth = SensorDepth(scale=self.scale).from_array(raw)
        else:
            depth = SensorDepth.from_metric(raw)
        depth = self._within_limits(depth)
        if self._depth_to_colour is None:
            return depth, message.header.frame_id
        depth_camera = self._camera('depth_camera_info')
        height, width = depth.shape
        if (depth_camera.width, depth_camera.height) != (width, height):
            if not same_aspect(depth_camera.width, depth_camera.height, width, height):
                raise RosError(
                    f'register: depth_camera_info is for {depth_camera.width}x'
                    f'{depth_camera.height} pixels, but depth has {width}x{height}; remap '
                    'depth_camera_info to the calibration of this depth image'
                )
            depth_camera = depth_camera.scaled(width, height)
        colour_camera = self._camera('camera_info')
        colour_frame, pose = self._cameras['camera_info'].header.frame_id, self._depth_to_colour
        if callable(pose):
            pose = pose(message.header.frame_id, colour_frame)
        if np.array_equal(pose, np.eye(4)) and same_camera(colour_camera, depth_camera):
            # The driver has moved it already.
            return fitted(depth, colour_camera.width, colour_camera.height), colour_frame
        return self._register(depth, depth_camera, colour_camera, pose), colour_frame

    def _within_limits(self, depth: np.ndarray) -> np.ndarray:
        """Depth, NaN outside of min_m to max_m too."""
        self.beyond_m = None
        nearest, farthest = depth_range(depth)
        # NaN, of no depth at all, is on neither side.
        if not (nearest < self.min_m or farthest > self.max_m):
            return depth
        useful = (depth >= self.min_m) & (depth <= self.max_m)
        if not useful.any():
            check_units(depth)  # The limits leave nothing: is that because of its units?
            self.beyond_m = float(np.nanmedian(depth))
        return np.where(useful, depth, np.float32(np.nan))

    def _camera(self, name: str) -> Intrinsics:
        if name not in self._cameras:
            raise RosError(
                f'register: no {name} has arrived yet, so depth cannot be moved to colour'
            )
        # Distortion is not undone: depth images come rectified, or with next to none.
        rectified = self._rectified and name == 'camera_info'
        camera = camera_from_info(self._cameras[name], rectified)
        if camera.intrinsics is None:
            raise RosError(f'register: {name}: {camera.note}')
        return camera.intrinsics


def same_camera(colour: Intrinsics, depth: Intrinsics) -> bool:
    """Whether two calibrations are of one view, maybe of another number of pixels."""
    if not same_aspect(colour.width, colour.height, depth.width, depth.height):
        return False
    seen = colour.scaled(depth.width, depth.height)
    focal = max(abs(seen.fx / depth.fx - 1), abs(seen.fy / depth.fy - 1))
    centre = max(abs(seen.cx - depth.cx), abs(seen.cy - depth.cy))
    return focal <= SAME_FOCAL and centre <= SAME_CENTRE_PX
