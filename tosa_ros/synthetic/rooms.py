"""Rooms of the tiny world: seeds and looks of each split, floors, walls, doors and decoration.

A room is named by its floor's material, which stays recognisable when the walls change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tosa_ros.errors import DataError

SPLITS = ('train', 'val', 'test', 'unseen')
SEEDS_PER_SPLIT = 1_000_000_000  # so the splits' seed ranges cannot meet

FLOORS = ('tiles', 'wood', 'carpet', 'stone')

# Walls and floors are pale and grey beside the things' colours, so that colour words stay clear.
_SEEN_WALLS = (
    (0.76, 0.70, 0.60),
    (0.62, 0.67, 0.74),
    (0.64, 0.72, 0.64),
    (0.74, 0.64, 0.64),
    (0.68, 0.68, 0.68),
)
_UNSEEN_WALLS = (
    (0.67, 0.62, 0.74),
    (0.74, 0.70, 0.52),
    (0.55, 0.68, 0.68),
    (0.72, 0.58, 0.52),
)


@dataclass(frozen=True)
class Style:
    """What a split's rooms look like; lengths in metres, angles in degrees."""

    walls: tuple[tuple[float, float, float], ...] = _SEEN_WALLS
    width_m: tuple[float, float] = (4.6, 5.8)
    depth_m: tuple[float, float] = (5.0, 6.0)
    height_m: tuple[float, float] = (2.6, 2.9)
    camera_height_m: tuple[float, float] = (1.25, 1.65)
    pitch_deg: tuple[float, float] = (12.0, 20.0)


STYLES = {name: Style() for name in SPLITS}
STYLES['unseen'] = Style(
    walls=_UNSEEN_WALLS,
    width_m=(5.8, 6.6),
    depth_m=(6.0, 6.8),
    height_m=(2.9, 3.3),
    camera_height_m=(1.65, 1.9),
    pitch_deg=(18.0, 24.0),
)


def generator(split: str, index: int, stream: str) -> np.random.Generator:
    """The random numbers of one thing: a sample's scene, its questions, its sensor, an episode's.

    Raises:
        DataError: the split is unknown or the index is outside its seeds.
    """
    if split not in SPLITS:
        raise DataError(f'split: {split!r}; the tiny world has {", ".join(SPLITS)}')
    if not isinstance(index, (int, np.integer)) or not 0 <= index < SEEDS_PER_SPLIT:
        raise DataError(f'index: {index!r}; wanted a whole number 0..{SEEDS_PER_SPLIT - 1}')
    seed = SPLITS.index(split) * SEEDS_PER_SPLIT + int(index)
    return np.random.default_rng([seed, *stream.encode()])


@dataclass(frozen=True)
class Door:
    """An opening in one wall: `side` is -1 (low x) or 1 (high x), its middle at world y."""

    side: int
    y: float
    width: float = 1.3
    height: float = 2.1


@dataclass(frozen=True)
class Surface:
    """How something is painted: base colour 0..1, a texture kind and its numbers."""

    colour: tuple[float, float, float]
    kind: str = 'plain'
    amplitude: float = 0.0
    scale: float = 1.0
    direction: tuple[float, float, float] = (1.0, 0.0, 0.0)


@dataclass(frozen=True)
class Slab:
    """An axis-aligned box of the building: walls, floor, rug, picture, pillar."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    surface: Surface


@dataclass(frozen=True)
class Room:
    """One room: its inside from `low` to `high` (metres, world) and everything built into it."""

    name: str
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    slabs: tuple[Slab, ...]

    def holds(self, x: float, y: float, margin: float = 0.0) -> bool:
        return all(
            a + margin <= p <= b - margin
            for p, a, b in zip((x, y), self.low, self.high, strict=False)
        )


WALL_M = 0.05
_FLOOR_COLOURS = {
    'tiles': ((0.72, 0.72, 0.68), (0.64, 0.70, 0.72)),
    'wood': ((0.60, 0.46, 0.32), (0.52, 0.38, 0.26)),
    'carpet': ((0.50, 0.42, 0.44), (0.42, 0.46, 0.52)),
    'stone': ((0.56, 0.56, 0.54), (0.48, 0.49, 0.50)),
}


def build_room(
    rng: np.random.Generator,
    style: Style,
    name: str,
    x: float = 0.0,
    doors: tuple[Door, ...] = (),
) -> Room:
    """A room whose inside starts at (x, 0, 0), with walls, floor, ceiling and decoration."""
    width, depth, height = (
        round(float(rng.uniform(*span)), 3)
        for span in (style.width_m, style.depth_m, style.height_m)
    )
    low, high = (x, 0.0, 0.0), (x + width, depth, height)
    wall = np.array(style.walls[rng.integers(len(style.walls))]) + rng.uniform(-0.03, 0.03, 3)
    wall_kind = ('plain', 'stripes', 'panels')[rng.integers(3)]
    paint = Surface(_rgb(wall), wall_kind, 0.05, float(rng.uniform(4, 9)), (1.0, 1.0, 0.0))
    floor = _FLOOR_COLOURS[name]
    floor = floor[rng.integers(len(floor))] + rng.uniform(-0.03, 0.03, 3)
    slabs = [
        Slab(
            (low[0] - WALL_M, low[1] - WALL_M, -WALL_M),
            (high[0] + WALL_M, high[1] + WALL_M, 0.0),
            Surface(_rgb(floor), name, 0.0, float(rng.uniform(0.9, 1.1))),
        ),
        Slab(
            (low[0] - WALL_M, low[1] - WALL_M, height),
            (high[0] + WALL_M, high[1] + WALL_M, height + WALL_M),
            Surface((0.86, 0.86, 0.84)),
        ),
    ]
    slabs += _walls(low, high, paint, doors)
    slabs += _decoration(rng, low, high, doors)
    return Room(name, low, high, tuple(slabs))


def _walls(low: tuple, high: tuple, paint: Surface, doors: tuple[Door, ...]) -> list[Slab]:
    skirting = Surface((0.82, 0.80, 0.76))
    slabs = []
    for y in (low[1] - WALL_M, high[1]):
        slabs.append(Slab((low[0], y, 0.0), (high[0], y + WALL_M, high[2]), paint))
    rail = high[1] - 0.015
    slabs.append(Slab((low[0], rail, 0.0), (high[0], high[1], 0.1), skirting))
    for side, x in ((-1, low[0] - WALL_M), (1, high[0])):
        edges = [low[1]]
        for door in (d for d in doors if d.side == side):
            edges += [door.y - door.width / 2, door.y + door.width / 2]
            slabs.append(
                Slab((x, edges[-2], door.height), (x + WALL_M, edges[-1], high[2]), paint)
            )
        edges.append(high[1])
        for a, b in zip(edges[::2], edges[1::2], strict=True):
            slabs.append(Slab((x, a, 0.0), (x + WALL_M, b, high[2]), paint))
    return slabs


def _decoration(
    rng: np.random.Generator, low: tuple, high: tuple, doors: tuple[Door, ...]
) -> list[Slab]:
    """Clutter that no question is about: pictures, a window, a rug, a pillar in a corner."""
    slabs = []
    for number in range(rng.integers(0, 4)):
        out = 0.03 + 0.01 * number  # no two in one plane
        w, h = rng.uniform(0.4, 1.0, 2)
        z = rng.uniform(1.2, 1.9)
        muted = Surface(
            _rgb(rng.uniform(0.35, 0.6) + rng.uniform(-0.06, 0.06, 3)), 'blotches', 0.3
        )
        if rng.random() < 0.6 or doors:
            x = rng.uniform(low[0] + 0.2, high[0] - 0.2 - w)
            box = (x, high[1] - out, z), (x + w, high[1], min(z + h, high[2] - 0.1))
        else:
            y = rng.uniform(low[1] + 1.0, high[1] - 0.2 - w)
            side = rng.random() < 0.5
            near, far = (low[0], low[0] + out) if side else (high[0] - out, high[0])
            box = (near, y, z), (far, y + w, min(z + h, high[2] - 0.1))
        slabs.append(Slab(*box, muted))
    if rng.random() < 0.4:
        w, d = rng.uniform(1.2, 2.2, 2)
        x, y = rng.uniform(low[0], high[0] - w), rng.uniform(low[1] + 1.0, high[1] - d)
        tone = rng.uniform(0.35, 0.55) + rng.uniform(-0.05, 0.05, 3)
        slabs.append(
            Slab((x, y, 0.0), (x + w, y + d, 0.012), Surface(_rgb(tone), 'stripes', 0.12, 14.0))
        )
    if rng.random() < 0.3:
        x = low[0] if rng.random() < 0.5 else high[0] - 0.3
        slabs.append(
            Slab(
                (x, high[1] - 0.3, 0.0),
                (x + 0.3, high[1], high[2]),
                Surface(_rgb(rng.uniform(0.55, 0.7) + np.zeros(3))),
            )
        )
    return slabs


def _rgb(colour: np.ndarray) -> tuple[float, float, float]:
    return tuple(float(c) for c in np.clip(colour, 0, 1))
