"""Single views of the tiny world: a room, a camera in it, what it sees and what can be asked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tosa_ros.errors import DataError
from tosa_ros.frames import Frame, Intrinsics
from tosa_ros.synthetic.asking import Question, see
from tosa_ros.synthetic.objects import SceneObject, furnish
from tosa_ros.synthetic.questions import ask
from tosa_ros.synthetic.render import (
    FIELD_OF_VIEW_DEG,
    Light,
    Stage,
    View,
    camera,
    look,
    pixel_rays,
    silhouette_pixels,
)
from tosa_ros.synthetic.rooms import FLOORS, STYLES, Room, Style, build_room, generator
from tosa_ros.synthetic.sensor import SensorModel

THINGS = (5, 10)  # things wished for in a single view, both included
DISTANCE_M = (1.7, 5.4)  # from the camera to a thing's middle along the floor


@dataclass(frozen=True, eq=False)
class Sample:
    """A view with its labels.

    frame: colour, depth in metres, intrinsics and pose.
    instances: (H, W) int16, index into `objects`, -1 for floor, walls and decoration.
    objects: everything in the room, seen or not. questions: about this view.
    """

    frame: Frame
    instances: np.ndarray
    objects: tuple[SceneObject, ...]
    questions: tuple[Question, ...]


def single(
    split: str,
    index: int,
    *,
    size: int = 128,
    questions: int | None = None,
    sensor: SensorModel | None = None,
) -> Sample:
    """Sample number `index` of a split; the same on every run and in every process.

    The scene depends on split and index alone: not on the size, the questions or the sensor.

    Args:
        split: one of SPLITS. size: pixels of the square image.
        questions: how many at most (fewer where the view allows no more); None: at most one
            of each type; 0: none.
        sensor: makes the frame's depth that of a real camera; None leaves it exact.

    Raises:
        DataError: an argument is outside its range.
        MissingDependencyError: Open3D is not installed.
    """
    if questions is not None and questions < 0:
        raise DataError(f'questions: {questions}; wanted 0 or more, or None')
    k = camera(size)
    rng = generator(split, index, 'scene')
    style = STYLES[split]
    room = build_room(rng, style, FLOORS[rng.integers(len(FLOORS))])
    pose, yaw = _stand(rng, style, room)
    count = int(rng.integers(THINGS[0], THINGS[1] + 1))
    things = tuple(furnish(rng, room, _in_view(rng, pose, yaw), count, []))
    light = lamps(rng, (room,))
    view = Stage((room,), things).view(k, pose, light, rng)
    things = with_visibility(things, view, k, pose)
    seen = see(things, view.instances, view.depth_m, k, pose, room.name)
    return Sample(
        frame_of(view, k, pose, 0.0, sensor, generator(split, index, 'sensor')),
        view.instances,
        things,
        ask(seen, generator(split, index, 'questions'), questions),
    )


def _stand(rng: np.random.Generator, style: Style, room: Room) -> tuple[np.ndarray, float]:
    """A camera near the middle of the room's low-y wall, looking into the room."""
    x = (room.low[0] + room.high[0]) / 2 + rng.uniform(-1.0, 1.0)
    eye = (x, room.low[1] + rng.uniform(0.25, 0.5), rng.uniform(*style.camera_height_m))
    lean = (x - (room.low[0] + room.high[0]) / 2) * 0.2  # back towards the room's middle
    yaw = lean + rng.uniform(-0.2, 0.2)
    return look(eye, yaw, np.radians(rng.uniform(*style.pitch_deg))), yaw


def _in_view(rng: np.random.Generator, pose: np.ndarray, yaw: float) -> object:
    """Proposes places on the floor that the camera sees."""
    half = np.radians(FIELD_OF_VIEW_DEG) / 2

    def spot(radius: float) -> tuple[float, float]:
        distance = rng.uniform(DISTANCE_M[0] + radius, DISTANCE_M[1])
        reach = max(half - np.arctan2(radius * 0.8, distance), 0.02)
        bearing = yaw + rng.uniform(-reach, reach)
        return (
            float(pose[0, 3] - np.sin(bearing) * distance),
            float(pose[1, 3] + np.cos(bearing) * distance),
        )

    return spot


def lamps(rng: np.random.Generator, rooms: tuple[Room, ...]) -> Light:
    """A lamp somewhere under the ceiling of each room."""
    share = rng.uniform(0.25, 0.75, (len(rooms), 2))
    low = np.array([room.low for room in rooms])
    high = np.array([room.high for room in rooms])
    places = low[:, :2] + share * (high - low)[:, :2]
    return Light(
        tuple(
            (float(x), float(y), float(z))
            for (x, y), z in zip(places, high[:, 2] - 0.15, strict=True)
        ),
        tuple(float(t) for t in rng.uniform(0.95, 1.03, 3)),
        ambient=float(rng.uniform(0.46, 0.58)),
    )


def with_visibility(
    things: tuple[SceneObject, ...], view: View, k: Intrinsics, pose: np.ndarray
) -> tuple[SceneObject, ...]:
    """The things with what this view shows of them."""
    pixels = np.bincount(view.instances.ravel() + 1, minlength=len(things) + 1)[1:]
    return tuple(
        replace(
            thing,
            visible_pixels=int(n),
            visible_fraction=min(1.0, float(n / silhouette_pixels(thing, k, pose))) if n else 0.0,
        )
        for thing, n in zip(things, pixels, strict=True)
    )


def frame_of(
    view: View,
    k: Intrinsics,
    pose: np.ndarray,
    stamp: float,
    sensor: SensorModel | None,
    rng: np.random.Generator,
) -> Frame:
    depth = view.depth_m
    if sensor is not None:
        depth = sensor.measure(depth, view.rgb, pixel_rays(k), rng)
    return Frame(view.rgb, depth_m=depth, intrinsics=k, pose=pose, stamp=stamp)
