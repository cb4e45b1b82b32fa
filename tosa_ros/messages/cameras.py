"""Calibrations: sensor_msgs/CameraInfo -> the pinhole camera of the image as it is published."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tosa_ros.frames import Intrinsics


class Camera(NamedTuple):
    """What a camera_info says: the intrinsics, or None; and why not, or what to know of them."""

    intrinsics: Intrinsics | None
    note: str


def camera_from_info(message: Any, rectified: bool = False) -> Camera:
    """The pinhole camera of a sensor_msgs/CameraInfo, for the image as it is published.

    K is for raw images, P for rectified ones (REP-104); both are of the full sensor, so that
    `roi` and `binning` are applied here.
    """
    k = np.asarray(_field(message, 'k'), np.float64).reshape(-1)
    p = np.asarray(_field(message, 'p'), np.float64).reshape(-1)
    distorted = bool(np.any(np.asarray(_field(message, 'd'), np.float64)))
    fx, fy, cx, cy = (p[0], p[5], p[2], p[6]) if rectified else (k[0], k[4], k[2], k[5])
    if rectified and fx == 0 and not distorted:
        fx, fy, cx, cy = k[0], k[4], k[2], k[5]
    name = 'P' if rectified else 'K'
    if not np.isfinite([fx, fy, cx, cy]).all() or fx <= 0 or fy <= 0:
        return Camera(
            None,
            f'camera_info: the focal length in {name} is {fx:g}, {fy:g}: the camera is not '
            'calibrated, so there are no metric points; calibrate it',
        )
    if message.width < 1 or message.height < 1:
        return Camera(
            None,
            f'camera_info: image size is {message.width}x{message.height}, so there are no '
            'metric points; its driver should fill in the size',
        )
    roi = message.roi
    width, height = roi.width or message.width, roi.height or message.height
    full = Intrinsics(fx, fy, cx - roi.x_offset, cy - roi.y_offset, int(width), int(height))
    bin_x, bin_y = max(1, message.binning_x), max(1, message.binning_y)
    camera = full.scaled(max(1, int(width) // bin_x), max(1, int(height) // bin_y))
    note = ''
    if distorted and not rectified:
        note = (
            'camera_info: the lens distortion D is not corrected in a raw image, so points near '
            'its border are off; subscribe to the rectified image for exact ones'
        )
    return Camera(camera, note)


def _field(message: Any, name: str) -> Any:
    """A CameraInfo matrix: lower case in ROS 2, upper case in ROS 1."""
    return getattr(message, name) if hasattr(message, name) else getattr(message, name.upper())
