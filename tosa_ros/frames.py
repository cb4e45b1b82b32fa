"""Frame: colour, depth, intrinsics, pose and stamp of one view; the one thing that parts exchange.

Everything that sees (`depth`, `pipeline`, `ros`, `evaluation`, `synthetic`) makes or takes frames.
Depth is aligned with the colour image's pixels before it becomes a frame.
"""

from __future__ import annotations

import enum
import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from tosa_ros.errors import FrameError

PLAUSIBLE_MEDIAN_DEPTH_M = (0.05, 100.0)
# Outside of this depth may be right (outdoors, a camera on a gripper), but its scale is doubted.
ROOM_MEDIAN_DEPTH_M = (0.25, 8.0)
SAMPLED_SIDE = 60  # pixels, of the shorter side: enough for a median that is only doubted


class DepthScaleWarning(UserWarning):
    """The depth's median is so unusual that its scale is probably wrong."""


class DepthDoubt(enum.IntFlag):
    """What is not known for sure of a frame's depth; several may hold at once.

    ALIGNED: depth is taken as aligned to colour, and nothing shows that it is.
    PLACE: depth is registered as if its camera were where colour's is.
    ESTIMATED: depth comes from an estimator that looks at colour alone.
    SCALE: the median is outside of ROOM_MEDIAN_DEPTH_M.
    """

    ALIGNED = 1
    PLACE = 2
    ESTIMATED = 4
    SCALE = 8


NO_DOUBT = DepthDoubt(0)
ALL_DOUBTS = DepthDoubt(15)
DOUBTS_IN_WORDS = {
    DepthDoubt.ALIGNED: 'depth is taken as aligned to colour, which nothing shows',
    DepthDoubt.PLACE: 'depth is registered as if its camera were where the colour camera is',
    DepthDoubt.ESTIMATED: 'depth was estimated from colour, not sensed',
    DepthDoubt.SCALE: (
        'the median of depth is outside {:g} to {:g} m, unusual in a room: is its scale right?'
    ).format(*ROOM_MEDIAN_DEPTH_M),
}


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera, in pixels: focal lengths, principal point, image size.

    Pixel (u, v) has its centre at u, v as whole numbers, the convention of ROS and OpenCV.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def __post_init__(self) -> None:
        for name in ('fx', 'fy'):
            value = getattr(self, name)
            if not _is_finite(value) or value <= 0:
                raise FrameError(
                    f'intrinsics: {name} is {value}; a focal length is a positive number of '
                    'pixels (0 means that the camera is not calibrated)'
                )
        for name in ('cx', 'cy'):
            if not _is_finite(getattr(self, name)):
                raise FrameError(f'intrinsics: {name} is {getattr(self, name)}; wanted a number')
        sizes = (self.width, self.height)
        if not all(_is_finite(n) and n >= 1 and n == int(n) for n in sizes):
            raise FrameError(
                f'intrinsics: image size is {self.width}x{self.height}; wanted whole numbers, '
                'at least 1x1'
            )

    def matrix(self) -> np.ndarray:
        """The 3x3 camera matrix K, float64."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], np.float64)

    def scaled(self, width: int, height: int) -> Intrinsics:
        """The same camera after its image is resized to width x height pixels."""
        sx, sy = width / self.width, height / self.height
        return Intrinsics(
            self.fx * sx,
            self.fy * sy,
            (self.cx + 0.5) * sx - 0.5,
            (self.cy + 0.5) * sy - 0.5,
            width,
            height,
        )

    def turned(self, degrees: int) -> Intrinsics:
        """The same camera after its image is turned clockwise, by a multiple of 90 degrees."""
        camera = self
        for _ in range(_quarters(degrees)):
            camera = Intrinsics(
                camera.fy,
                camera.fx,
                camera.height - 1 - camera.cy,
                camera.cx,
                camera.height,
                camera.width,
            )
        return camera


@dataclass(frozen=True, eq=False)
class Frame:
    """One view. Frames compare by identity; their arrays are not to be written to.

    rgb: (H, W, 3) uint8.
    depth_m: (H, W) float32, metres along the optical axis, NaN where there is none; or None.
    relative_depth: (H, W) float32 in 0..1, 1 nearest, unscaled, NaN where there is none; or None.
        A frame has metric or relative depth, never both.
    intrinsics: the colour camera's; metric points need them.
    pose: (4, 4) camera-to-world, metres, optical frame (z forward, x right, y down); or None.
    stamp: seconds.
    doubts: what is not known for sure of the depth; SCALE is found out here.
    """

    rgb: np.ndarray
    depth_m: np.ndarray | None = None
    relative_depth: np.ndarray | None = None
    intrinsics: Intrinsics | None = None
    pose: np.ndarray | None = None
    stamp: float = 0.0
    doubts: DepthDoubt = NO_DOUBT

    def __post_init__(self) -> None:
        rgb = np.asarray(self.rgb)
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
            raise FrameError(
                f'rgb: shape {rgb.shape}, dtype {rgb.dtype}; wanted (H, W, 3) uint8, not empty'
            )
        object.__setattr__(self, 'rgb', _read_only(rgb))
        no_depth = self.depth_m is None and self.relative_depth is None
        doubts = NO_DOUBT if no_depth else DepthDoubt(self.doubts) & ~DepthDoubt.SCALE
        object.__setattr__(self, 'doubts', doubts)
        if self.depth_m is not None and self.relative_depth is not None:
            raise FrameError('a frame has depth_m or relative_depth, not both: leave one out')
        if self.depth_m is not None:
            object.__setattr__(self, 'depth_m', self._checked_depth_m())
        if self.relative_depth is not None:
            object.__setattr__(self, 'relative_depth', self._checked_relative_depth())
        self._check_camera()

    @property
    def height(self) -> int:
        return self.rgb.shape[0]

    @property
    def width(self) -> int:
        return self.rgb.shape[1]

    @property
    def has_metric_points(self) -> bool:
        """Whether pixels can be back-projected to metres: metric depth and intrinsics."""
        return self.depth_m is not None and self.intrinsics is not None

    def without_depth(self) -> Frame:
        """This frame's colour alone."""
        return replace(self, depth_m=None, relative_depth=None)

    def turned(self, degrees: int) -> Frame:
        """This frame as a camera sees it that is mounted upright where this one is not.

        degrees: how far the picture is turned clockwise, a multiple of 90. Colour, depth,
        intrinsics and pose are turned together: points stay where they are in the world.
        """
        quarters = _quarters(degrees)
        if quarters == 0:
            return self
        rgb, depth_m, relative = (
            None if array is None else np.ascontiguousarray(np.rot90(array, -quarters))
            for array in (self.rgb, self.depth_m, self.relative_depth)
        )
        return replace(
            self,
            rgb=rgb,
            depth_m=depth_m,
            relative_depth=relative,
            intrinsics=self.intrinsics and self.intrinsics.turned(degrees),
            pose=None if self.pose is None else self.pose @ _unturned(quarters),
        )

    def _checked_depth_m(self) -> np.ndarray:
        depth = measured_depth(self._depth_array('depth_m', self.depth_m))
        median = median_depth(depth)
        if math.isnan(median):
            raise FrameError(
                f'depth_m: none of its {depth.size} pixels is valid (finite and above 0); '
                'make the frame without depth instead'
            )
        if not ROOM_MEDIAN_DEPTH_M[0] <= median <= ROOM_MEDIAN_DEPTH_M[1]:
            object.__setattr__(self, 'doubts', self.doubts | DepthDoubt.SCALE)
        low, high = PLAUSIBLE_MEDIAN_DEPTH_M
        if not low <= median <= high:
            warnings.warn(
                f'depth_m: the median is {median:.4g} m, outside {low} to {high} m; '
                'is the depth scale right?',
                DepthScaleWarning,
                stacklevel=4,
            )
        return _read_only(depth)

    def _checked_relative_depth(self) -> np.ndarray:
        depth = self._depth_array('relative_depth', self.relative_depth)
        finite = depth[np.isfinite(depth)]
        if finite.size == 0:
            raise FrameError(f'relative_depth: none of its {depth.size} pixels is finite')
        if finite.min() < 0 or finite.max() > 1:
            raise FrameError(
                f'relative_depth: values from {finite.min():.4g} to {finite.max():.4g}; wanted '
                '0..1 with 1 nearest (depth in metres goes into depth_m)'
            )
        return _read_only(np.where(np.isfinite(depth), depth, np.float32(np.nan)))

    def _depth_array(self, name: str, value: np.ndarray) -> np.ndarray:
        depth = np.asarray(value)
        if depth.ndim != 2 or not np.issubdtype(depth.dtype, np.floating):
            raise FrameError(
                f'{name}: shape {depth.shape}, dtype {depth.dtype}; wanted (H, W) float32. '
                'Raw sensor values become metres by tosa_ros.depth.SensorDepth'
            )
        if depth.shape != self.rgb.shape[:2]:
            raise FrameError(
                f'{name}: {depth.shape[1]}x{depth.shape[0]} pixels, but the colour image has '
                f'{self.width}x{self.height}; register it to the colour camera first '
                '(tosa_ros.depth.register_depth)'
            )
        with np.errstate(over='ignore'):  # becomes infinite: no depth
            return np.ascontiguousarray(depth, dtype=np.float32)

    def _check_camera(self) -> None:
        k = self.intrinsics
        if k is not None and (k.width, k.height) != (self.width, self.height):
            raise FrameError(
                f'intrinsics: made for {k.width}x{k.height} pixels, but the colour image has '
                f'{self.width}x{self.height}; use intrinsics.scaled({self.width}, {self.height})'
            )
        if self.pose is not None:
            try:
                pose = np.asarray(self.pose, dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise FrameError(
                    f'pose: not a matrix of numbers ({error}); wanted 4x4 camera-to-world'
                ) from error
            if pose.shape != (4, 4) or not np.isfinite(pose).all():
                raise FrameError(
                    f'pose: shape {pose.shape}; wanted a finite 4x4 camera-to-world matrix'
                )
            object.__setattr__(self, 'pose', _read_only(pose))


def doubts_in_words(frames: Iterable[Frame]) -> list[str]:
    """What is not known for sure of the depth of any of these frames, a line each."""
    doubts = NO_DOUBT
    for frame in frames:
        doubts |= frame.doubts
    return [words for doubt, words in DOUBTS_IN_WORDS.items() if doubts & doubt]


def _quarters(degrees: int) -> int:
    """How many quarters of a turn, 0 to 3."""
    if degrees % 90:
        raise FrameError(f'turn: {degrees} degrees; wanted a multiple of 90')
    return degrees // 90 % 4


def _unturned(quarters: int) -> np.ndarray:
    """(4, 4) from the axes of a picture turned clockwise to those that it had before."""
    quarter = np.array([[0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], np.float64)
    return np.linalg.matrix_power(quarter, quarters)


def depth_range(depth_m: np.ndarray) -> tuple[float, float]:
    """The nearest and the farthest of the pixels that are not NaN; NaN if there are none."""
    # These pass NaN over, in a fraction of the time that masks as large as the image take.
    return np.fmin.reduce(depth_m, axis=None), np.fmax.reduce(depth_m, axis=None)


def measured_depth(depth_m: np.ndarray) -> np.ndarray:
    """Depth (H, W) float, NaN where it is not finite and above 0; itself where it is so."""
    nearest, farthest = depth_range(depth_m)
    if nearest > 0 and farthest < np.inf:
        return depth_m
    return np.where((depth_m > 0) & (depth_m < np.inf), depth_m, depth_m.dtype.type(np.nan))


def median_depth(depth_m: np.ndarray) -> float:
    """About the median of the pixels that are not NaN, of a sample spread over the image.

    NaN if there are none.
    """
    step = max(1, min(depth_m.shape) // SAMPLED_SIDE)
    for seen in (depth_m[::step, ::step], depth_m):
        known = seen[~np.isnan(seen)]
        if known.size:
            middle = known.size // 2
            return float(np.partition(known, middle)[middle])
    return math.nan


def _is_finite(value: object) -> bool:
    try:
        return math.isfinite(value)
    except TypeError:
        return False


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view
