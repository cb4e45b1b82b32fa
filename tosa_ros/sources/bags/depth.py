"""A bag's depth on colour's pixels: registered where its camera is another, else as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tosa_ros.depth import SensorDepth
from tosa_ros.errors import RosError, printable
from tosa_ros.frames import NO_DOUBT, ROOM_MEDIAN_DEPTH_M, DepthDoubt, Intrinsics
from tosa_ros.messages import SensorReader, camera_from_info, depth_from_message
from tosa_ros.messages.frame_builder import check_units, depth_pixels, fitted, same_frame
from tosa_ros.messages.transforms import Transforms
from tosa_ros.sources.bags.topics import BagTopics


class Fit(NamedTuple):
    """How depth comes onto colour's pixels.

    moved: (4, 4), the depth camera's pose in colour's frame, by which it is registered; None
        where it is taken as it is.
    words: how, and why so. doubts: what of that nothing shows.
    """

    moved: np.ndarray | None
    words: str
    doubts: DepthDoubt = NO_DOUBT


class BagDepth:
    """Makes metres at colour's pixels of a bag's depth messages.

    infos: a camera_info message by topic. scale: units of 16-bit depth per metre. moved: the
        depth camera's pose in colour's frame, where the recorder tells it; else tf does.
    camera: the depth camera, where it is known not to be colour's.
    """

    def __init__(
        self,
        topics: BagTopics,
        infos: Mapping[str, Any],
        transforms: Transforms,
        scale: float,
        moved: np.ndarray | None = None,
    ) -> None:
        self.sensor = SensorDepth(scale=scale)
        self._transforms, self._moved = transforms, moved
        self._infos = {'camera_info': infos.get(topics.camera_info)}
        if topics.depth_camera_info != topics.camera_info:
            self._infos['depth_camera_info'] = infos.get(topics.depth_camera_info)
        colour, own = (_camera(self._infos.get(n)) for n in ('camera_info', 'depth_camera_info'))
        self._calibrated = colour is not None and own is not None
        self.camera = own if self._calibrated and own != colour else None

    def fit(self, colour: Any, depth: Any, stamp: int) -> Fit:
        """How a depth message comes onto the pixels of a colour message of that stamp (ns)."""
        names = colour.header.frame_id.lstrip('/'), depth.header.frame_id.lstrip('/')
        place = self._place(*names, stamp)
        together = place is not None and np.allclose(place, np.eye(4))
        moved = place is not None and not together
        if self._calibrated and (self.camera is not None or moved):
            how = 'registered to colour by both calibrations'
            if place is None:
                return Fit(
                    np.eye(4),
                    f'{how}, as if its camera were where the colour camera is: {_apart(*names)}',
                    DepthDoubt.PLACE,
                )
            return Fit(place, f'{how} and where the two cameras are' if moved else how)
        how = 'taken as aligned to colour'
        if together:
            at = 'in' if names[0] == names[1] else 'by tf in the place of'
            return Fit(None, f"{how}: it is {at} colour's frame {printable(names[0], 40)!r}")
        if self._calibrated and names[0] == names[1]:
            return Fit(None, f"{how}: its calibration is colour's")
        lacking = '' if self._calibrated else ', and not both cameras have a calibration'
        where = 'its camera is elsewhere' if moved else _apart(*names)
        return Fit(None, f'{how}: {where}{lacking}', DepthDoubt.ALIGNED)

    def pixels(
        self, colour: Any, depth: Any, stamp: int, width: int, height: int
    ) -> tuple[np.ndarray, DepthDoubt]:
        """Depth (height, width) float32 metres, NaN where there is none; and its doubts.

        Raises:
            RosError, DepthError: depth that cannot be read, of another view, without one valid
                pixel, or not in the units that it should be in.
        """
        fit = self.fit(colour, depth, stamp)
        if fit.moved is None:
            return depth_pixels(depth, width, height, sensor=self.sensor), fit.doubts
        reader = SensorReader(self.sensor.scale, depth_to_colour=fit.moved)
        for name, info in self._infos.items():
            reader.camera_info(name, info)
        metres = reader.read(depth)[0]
        if not np.isfinite(metres).any():
            raise RosError('depth has no valid pixel')
        check_units(metres)
        return fitted(metres, width, height), fit.doubts

    def scale_note(self, depth: Any) -> str:
        """What the median of a depth message says against the scale; empty where nothing."""
        raw = depth_from_message(depth)
        metres = raw if raw.dtype == np.float32 else self.sensor.from_array(raw)
        valid = metres[np.isfinite(metres) & (metres > 0)]
        median = float(np.median(valid)) if valid.size else ROOM_MEDIAN_DEPTH_M[0]
        low, high = ROOM_MEDIAN_DEPTH_M
        if low <= median <= high:
            return ''
        wanted = (
            'its scale'
            if raw is metres
            else (f'a scale of {self.sensor.scale:g} units a metre (--depth-scale)')
        )
        return (
            f'the median of the first depth image is {median:.3g} m, outside of {low:g} to '
            f'{high:g} m, which is unusual in a room: is {wanted} right?'
        )

    def _place(self, colour: str, depth: str, stamp: int) -> np.ndarray | None:
        """The depth camera's pose in colour's frame; None where nothing tells it."""
        if self._moved is not None:
            return self._moved
        if colour == depth:
            return np.eye(4) if same_frame(colour, depth) else None
        return self._transforms.between(depth, colour, stamp)


def is_metric(depth: Any) -> bool:
    """Whether a depth message holds metres, so that no scale applies."""
    return depth_from_message(depth).dtype != np.uint16


def _apart(colour: str, depth: str) -> str:
    """Why it is not known where the depth camera is."""
    colour, depth = printable(colour, 40), printable(depth, 40)
    if colour == depth:
        return f'the frame of both is {depth!r}, which names none'
    return f'depth is in the frame {depth!r}, colour in {colour!r}, and no tf connects them'


def _camera(info: Any | None) -> Intrinsics | None:
    return None if info is None else camera_from_info(info).intrinsics
