"""The things that stand in rooms, and how a room is furnished so that questions can be asked.

`SceneObject` is a node of the scene graph: what it is, where, and what it stands on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tosa_ros.synthetic.meshes import (
    FURNITURE,
    SHAPES,
    SIMPLE_SHAPES,
    TABLE_HEIGHT_M,
    shape_mesh,
)
from tosa_ros.synthetic.rooms import Room, Surface

COLOUR_VALUES = {
    'red': (0.82, 0.08, 0.08),
    'orange': (0.96, 0.48, 0.04),
    'yellow': (0.95, 0.86, 0.10),
    'green': (0.10, 0.55, 0.14),
    'cyan': (0.10, 0.78, 0.82),
    'blue': (0.10, 0.20, 0.78),
    'purple': (0.52, 0.12, 0.62),
    'white': (0.97, 0.97, 0.97),
}
COLOURS = tuple(COLOUR_VALUES)
SIZES = {'small': 0.9, 'large': 1.7}  # scales of the simple shapes
# What can lie fallen on its back, and by how many degrees it then tilts to rest on the floor.
FALLEN_TILT_DEG = {'chair': 90.0, 'lamp': 83.3}
FALLEN_SHARE = 0.6  # what lies is hidden more often
LARGE_SHARE = 0.72  # so that half are large, with the small things at tables
COUNTABLE = (*SIMPLE_SHAPES, 'chair')


@dataclass(frozen=True)
class SceneObject:
    """One thing in the world.

    centre, extent: of its axis-aligned bounds, metres in the world's frame (z up).
    state: 'upright' or 'fallen'. support: 'floor', 'on' or 'under' the object number `host`.
    visible_pixels: in the view (in an episode: in the frame that shows it best).
    visible_fraction: share of its unoccluded, uncropped silhouette that is visible there.
    """

    name: str
    shape: str
    colour: str
    size_name: str
    centre: tuple[float, float, float]
    extent: tuple[float, float, float]
    room: str
    yaw: float
    scale: float
    state: str
    support: str
    host: int | None
    surface: Surface
    visible_pixels: int = 0
    visible_fraction: float = 0.0


def vertices_of(thing: SceneObject) -> tuple[np.ndarray, np.ndarray]:
    """World vertices and normals (V, 3) float32 of a thing's mesh."""
    mesh = shape_mesh(thing.shape)
    turn = _rotation(thing.shape, thing.yaw, thing.state)
    low, high = _bounds(thing.shape, thing.scale, thing.yaw, thing.state)
    offset = np.asarray(thing.centre) - (low + high) / 2
    vertices = mesh.vertices @ (turn.T * thing.scale) + offset.astype(np.float32)
    return vertices, mesh.normals @ turn.T


def furnish(
    rng: np.random.Generator,
    room: Room,
    spot: Callable[[float], tuple[float, float] | None],
    count: int,
    taken: list[SceneObject],
) -> list[SceneObject]:
    """Things for a room, appended to those `taken`; `spot(radius)` proposes free places.

    Names (colour and shape) are used once in the whole world, so a name means one thing.
    """
    things = list(taken)
    for shape, colour in _wish_list(rng, count):
        thing = _place(rng, room, spot, things, shape, colour)
        if thing is None:
            continue
        things.append(thing)
        if shape == 'table':
            _fill_table(rng, things)
    return things


def _wish_list(rng: np.random.Generator, count: int) -> list[tuple[str, str | None]]:
    """(shape, colour or None) in the order of placing: furniture first, then a theme to count."""
    shapes = list(rng.choice(SHAPES, count, p=_SHAPE_SHARES))
    colours: list[str | None] = [None] * count
    theme = rng.random()
    repeats = int(rng.choice((2, 3, 4, 5), p=(0.1, 0.2, 0.3, 0.4)))  # some will be hidden
    if theme < 0.35:
        shape = COUNTABLE[rng.integers(len(COUNTABLE))]
        shapes[:repeats] = [shape] * min(repeats, count)
    elif theme < 0.75:
        colours[:repeats] = [COLOURS[rng.integers(len(COLOURS))]] * min(repeats, count)
    wishes = list(zip(shapes, colours, strict=True))
    return sorted(wishes, key=lambda wish: wish[0] not in FURNITURE)


# By SHAPES. Tables have most room for questions, and sofas hide the most.
_SHAPE_SHARES = np.array([0.1, 0.1, 0.1, 0.1, 0.22, 0.1, 0.1, 0.18])


def _place(
    rng: np.random.Generator,
    room: Room,
    spot: Callable[[float], tuple[float, float] | None],
    things: list[SceneObject],
    shape: str,
    colour: str | None,
    tries: int = 12,
) -> SceneObject | None:
    size = 'medium' if shape in FURNITURE else ('small', 'large')[int(rng.random() < LARGE_SHARE)]
    state = 'upright'
    if shape in FALLEN_TILT_DEG and rng.random() < FALLEN_SHARE:
        state = 'fallen'
    yaw = float(rng.uniform(0, 2 * np.pi))
    scale = SIZES.get(size, 1.0) * float(rng.uniform(0.95, 1.05))
    low, high = _bounds(shape, scale, yaw, state)
    radius = float(np.hypot(*(high - low)[:2])) / 2 * 0.9
    for _ in range(tries):
        place = spot(radius)
        if place is None or not room.holds(*place, margin=radius * 0.9):
            continue
        if any(
            np.hypot(place[0] - t.centre[0], place[1] - t.centre[1])
            < radius + np.hypot(*t.extent[:2]) / 2 * 0.9
            for t in things
            if t.support == 'floor'
        ):
            continue
        return make_object(
            rng, things, shape, colour, size, scale, yaw, state, (*place, 0.0), room.name
        )
    return None


def _fill_table(rng: np.random.Generator, things: list[SceneObject]) -> None:
    """Small things on the table last placed, and under it."""
    host = len(things) - 1
    table = things[host]
    along = np.array([np.cos(table.yaw), np.sin(table.yaw)])
    for support, chance in (('on', 0.6), ('under', 0.65)):
        if rng.random() > chance:
            continue
        side = rng.uniform(-0.25, 0.25) * along
        base = (
            table.centre[0] + float(side[0]),
            table.centre[1] + float(side[1]),
            TABLE_HEIGHT_M * table.scale if support == 'on' else 0.0,
        )
        shape = SIMPLE_SHAPES[rng.integers(len(SIMPLE_SHAPES))]
        scale = SIZES['small'] * float(rng.uniform(0.95, 1.05))
        thing = make_object(
            rng, things, shape, None, 'small', scale, float(rng.uniform(0, 6.28)), 'upright',
            base, table.room, support, host,
        )  # fmt: skip
        if thing is not None:
            things.append(thing)


def make_object(
    rng: np.random.Generator,
    things: list[SceneObject],
    shape: str,
    colour: str | None,
    size: str,
    scale: float,
    yaw: float,
    state: str,
    base: tuple[float, float, float],
    room: str,
    support: str = 'floor',
    host: int | None = None,
) -> SceneObject | None:
    """A thing standing on `base`, in the wished or a free colour; None if its name is taken."""
    names = {t.name for t in things}
    free = [c for c in ([colour] if colour else COLOURS) if f'{c} {shape}' not in names]
    if not free:
        return None
    colour = free[rng.integers(len(free))]
    low, high = _bounds(shape, scale, yaw, state)
    extent = high - low
    kind = ('plain', 'stripes', 'blotches')[rng.integers(3)]
    direction = rng.normal(size=3)
    value = np.clip(np.array(COLOUR_VALUES[colour]) + rng.uniform(-0.03, 0.03, 3), 0, 1)
    return SceneObject(
        name=f'{colour} {shape}',
        shape=str(shape),
        colour=colour,
        size_name=size,
        centre=(base[0], base[1], base[2] + float(extent[2]) / 2),
        extent=tuple(float(e) for e in extent),
        room=room,
        yaw=yaw,
        scale=scale,
        state=state,
        support=support,
        host=host,
        surface=Surface(
            tuple(float(v) for v in value),
            kind,
            float(rng.uniform(0.06, 0.16)),
            float(rng.uniform(15, 30)),
            tuple(float(v) for v in direction / np.linalg.norm(direction)),
        ),
    )


def _rotation(shape: str, yaw: float, state: str) -> np.ndarray:
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    if state == 'fallen':
        c, s = np.cos(tilt := np.radians(FALLEN_TILT_DEG[shape])), np.sin(tilt)
        turn = turn @ np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
    return turn.astype(np.float32)


def _bounds(shape: str, scale: float, yaw: float, state: str) -> tuple[np.ndarray, np.ndarray]:
    vertices = shape_mesh(shape).vertices @ (_rotation(shape, yaw, state).T * np.float32(scale))
    return vertices.min(0).astype(np.float64), vertices.max(0).astype(np.float64)
