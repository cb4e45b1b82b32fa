"""Episodes of the tiny world: a camera walks through one to three rooms in a row and looks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tosa_ros.errors import DataError
from tosa_ros.frames import Frame
from tosa_ros.synthetic.asking import Question, is_clear
from tosa_ros.synthetic.episode_questions import EPISODE_MAKERS, SeenEpisode
from tosa_ros.synthetic.objects import SceneObject, furnish
from tosa_ros.synthetic.questions import ask
from tosa_ros.synthetic.render import Stage, camera, look
from tosa_ros.synthetic.rooms import (
    FLOORS,
    STYLES,
    WALL_M,
    Door,
    Room,
    Style,
    build_room,
    generator,
)
from tosa_ros.synthetic.sensor import SensorModel
from tosa_ros.synthetic.views import frame_of, lamps, with_visibility

FRAMES = (2, 512)
MAX_ROOMS = 3
THINGS_A_ROOM = (3, 6)
AISLE_M = 0.75  # the camera walks this far from the rooms' low-y walls, where the doors are
FREE_M = 1.5  # nothing stands closer to those walls than this
SPEED_M_S = 0.5


@dataclass(frozen=True, eq=False)
class Episode:
    """A walk with its labels.

    frames: with poses in one world frame and stamps from 0 s on.
    instances: (F, H, W) int16, index into `objects`, -1 for floor, walls and decoration.
    objects: everything in the rooms; what is visible of each counts where it is seen best.
    clear: (F, N) bool, which objects are visible enough in which frames to be asked about.
    rooms: names of the rooms in the order in which the camera was in them.
    questions: about the whole episode.
    """

    frames: tuple[Frame, ...]
    instances: np.ndarray
    objects: tuple[SceneObject, ...]
    clear: np.ndarray
    rooms: tuple[str, ...]
    questions: tuple[Question, ...]


def episode(
    split: str,
    index: int,
    *,
    frames: int = 8,
    size: int = 128,
    questions: int | None = None,
    sensor: SensorModel | None = None,
) -> Episode:
    """Episode number `index` of a split; the same on every run and in every process.

    Rooms, things and the path depend on split and index alone.

    Args:
        split: one of SPLITS. frames: how many views along the path. size: pixels of the square
            images. questions, sensor: as for `single`.

    Raises:
        DataError: an argument is outside its range.
        MissingDependencyError: Open3D is not installed.
    """
    if not isinstance(frames, (int, np.integer)) or not FRAMES[0] <= frames <= FRAMES[1]:
        raise DataError(f'frames: {frames!r}; wanted a whole number {FRAMES[0]} to {FRAMES[1]}')
    if questions is not None and questions < 0:
        raise DataError(f'questions: {questions}; wanted 0 or more, or None')
    k = camera(size)
    rng = generator(split, index, 'episode')
    rooms, things = _house(rng, STYLES[split])
    path = _walk(rng, STYLES[split], rooms, frames)
    light = lamps(rng, rooms)
    stage = Stage(rooms, things)
    sensing = generator(split, index, 'episode sensor')
    views, shown = [], []
    for number, pose in enumerate(path):
        view = stage.view(k, pose, light, generator(split, index, f'frame {number}'))
        views.append(view)
        shown.append(with_visibility(things, view, k, pose))
    clear = np.array([[is_clear(thing, size) for thing in row] for row in shown], bool)
    objects = _at_best(shown, size)
    visited = _visited(path, rooms)
    stamps = _stamps(path)
    return Episode(
        tuple(
            frame_of(view, k, pose, stamp, sensor, sensing)
            for view, pose, stamp in zip(views, path, stamps, strict=True)
        ),
        np.stack([view.instances for view in views]),
        objects,
        clear.reshape(len(path), len(objects)),
        visited,
        ask(
            _seen(objects, shown, clear.reshape(len(path), len(objects)), visited),
            generator(split, index, 'episode questions'),
            questions,
            EPISODE_MAKERS,
        ),
    )


def _house(
    rng: np.random.Generator, style: Style
) -> tuple[tuple[Room, ...], tuple[SceneObject, ...]]:
    """Rooms in a row along x, no two with the same floor, joined by doors at the aisle."""
    names = rng.permutation(FLOORS)[: rng.integers(1, MAX_ROOMS + 1)]
    rooms: list[Room] = []
    things: list[SceneObject] = []
    for number, name in enumerate(names):
        doors = tuple(
            Door(side, AISLE_M)
            for side, exists in ((-1, number > 0), (1, number < len(names) - 1))
            if exists
        )
        x = rooms[-1].high[0] + 2 * WALL_M if rooms else 0.0
        room = build_room(rng, style, str(name), x, doors)
        count = int(rng.integers(THINGS_A_ROOM[0], THINGS_A_ROOM[1] + 1))
        things = furnish(rng, room, _anywhere(rng, room), count, things)
        rooms.append(room)
    return tuple(rooms), tuple(things)


def _anywhere(rng: np.random.Generator, room: Room) -> object:
    def spot(radius: float) -> tuple[float, float]:
        return (
            float(rng.uniform(room.low[0] + radius, room.high[0] - radius)),
            float(rng.uniform(room.low[1] + FREE_M + radius, room.high[1] - radius)),
        )

    return spot


def _walk(
    rng: np.random.Generator, style: Style, rooms: tuple[Room, ...], frames: int
) -> list[np.ndarray]:
    """Camera poses, evenly spread in time: along the aisle, looking around in every room."""
    height = rng.uniform(*style.camera_height_m)
    pitch = np.radians(rng.uniform(*style.pitch_deg))
    backwards = rng.random() < 0.5
    stations = []  # x, y, yaw
    for room in rooms[::-1] if backwards else rooms:
        ahead = 1 if backwards else -1  # yaw grows to the left
        sweep = rng.uniform(0.3, 0.6) * (1 if rng.random() < 0.5 else -1)
        shares = (0.8, 0.5, 0.2) if backwards else (0.2, 0.5, 0.8)
        for share, yaw in zip(shares, (sweep, 0.0, -sweep), strict=True):
            lean = (share - 0.5) * 0.8  # from the ends of the aisle, towards the room's middle
            x = room.low[0] + share * (room.high[0] - room.low[0])
            stations.append((x, rng.uniform(0.4, 0.6), lean + yaw * 0.6))
        if room is not (rooms[0] if backwards else rooms[-1]):
            gate = room.low[0] - WALL_M if backwards else room.high[0] + WALL_M
            stations.append((gate, AISLE_M, ahead * rng.uniform(0.7, 1.0)))
    path = np.array(stations)
    when = np.linspace(0, len(path) - 1, frames)
    x, y, yaw = (np.interp(when, np.arange(len(path)), path[:, i]) for i in range(3))
    return [look((a, b, height), c, pitch) for a, b, c in zip(x, y, yaw, strict=True)]


def _stamps(path: list[np.ndarray]) -> list[float]:
    """Seconds from 0 on, evenly spaced, so that the walk has SPEED_M_S on average."""
    places = np.array([pose[:3, 3] for pose in path])
    length = np.linalg.norm(np.diff(places, axis=0), axis=1).sum()
    return [float(t) for t in np.linspace(0, length / SPEED_M_S, len(path))]


def _visited(path: list[np.ndarray], rooms: tuple[Room, ...]) -> tuple[str, ...]:
    ends = [room.high[0] + WALL_M for room in rooms[:-1]]
    inside = [int(np.searchsorted(ends, pose[0, 3])) for pose in path]
    return tuple(rooms[i].name for i in dict.fromkeys(inside))


def _at_best(shown: list[tuple[SceneObject, ...]], size: int) -> tuple[SceneObject, ...]:
    return tuple(
        max(versions, key=lambda thing: (is_clear(thing, size), thing.visible_pixels))
        for versions in zip(*shown, strict=True)
    )


def _seen(
    objects: tuple[SceneObject, ...],
    shown: list[tuple[SceneObject, ...]],
    clear: np.ndarray,
    rooms: tuple[str, ...],
) -> SeenEpisode:
    glimpsed = np.array([[t.visible_pixels > 0 for t in row] for row in shown], bool)
    ever = tuple(i for i in range(len(objects)) if clear[:, i].any())
    return SeenEpisode(
        objects,
        ever,
        {i: int(clear[:, i].argmax()) for i in ever},
        {i: int(glimpsed[:, i].argmax()) for i in ever},
        rooms,
    )
