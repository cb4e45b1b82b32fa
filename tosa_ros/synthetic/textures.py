"""Procedural paint for the tiny world's surfaces: pure functions of position, so always the same.

Floors: tiles, wood, carpet, stone. Walls and things: plain, stripes, panels, blotches.
"""

from __future__ import annotations

import numpy as np

from tosa_ros.synthetic.rooms import Surface

KINDS = ('plain', 'stripes', 'panels', 'blotches', 'tiles', 'wood', 'carpet', 'stone')


def paint(surfaces: list[Surface], ids: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N, 3) float32 colours 0..1 of the surfaces `ids` (N,) at `points` (N, 3) metres."""
    colours = np.array([s.colour for s in surfaces], np.float32)
    kinds = np.array([KINDS.index(s.kind) for s in surfaces], np.int8)
    numbers = np.array([(s.amplitude, s.scale, *s.direction) for s in surfaces], np.float32)
    albedo = colours[ids]
    kind = kinds[ids]
    for number, name in enumerate(KINDS[1:], start=1):
        where = np.flatnonzero(kind == number)
        if where.size:
            amplitude, scale, *direction = numbers[ids[where]].T
            factor = _TEXTURES[name](points[where], amplitude, scale, np.stack(direction, -1))
            albedo[where] *= factor[:, None]
    return albedo


def _stripes(p: np.ndarray, amplitude, scale, direction) -> np.ndarray:
    return 1 + amplitude * np.sign(np.sin(np.einsum('ni,ni->n', p, direction) * scale))


def _panels(p: np.ndarray, amplitude, scale, direction) -> np.ndarray:
    return 1 - amplitude * (p[:, 2] < 0.95) - amplitude * (np.abs(p[:, 2] - 0.95) < 0.03)


def _blotches(p: np.ndarray, amplitude, scale, direction) -> np.ndarray:
    cells = np.floor(p * (scale * 0.6)[:, None])
    return 1 + amplitude * (2 * _hash(cells) - 1)


def _tiles(p: np.ndarray, amplitude, scale, direction) -> np.ndarray:
    cell = np.floor(p[:, :2] / (0.5 * scale)[:, None])
    return np.where((cell.sum(1) % 2) == 0, 1.12, 0.62).astype(np.float32)


def _wood(p: np.ndarray, amplitude, scale, direction) -> np.ndarray:
    plank = np.floor(p[:, 0] / (0.22 * scale))
    along = np.floor(p[:, 1] / 1.6 + _hash(np.stack([plank, plank * 0, plank * 0], 1)))
    tone = _hash(np.stack([plank, along, plank * 0 + 7], 1))
    edge = (p[:, 0] / (0.22 * scale)) % 1 < 0.08
    return (0.84 + 0.32 * tone) * np.where(edge, 0.72, 1.0).astype(np.float32)


def _carpet(p: np.ndarray, amplitude, scale, direction) -> np.ndarray:
    return 0.8 + 0.4 * _hash(np.floor(p * (18 * scale)[:, None] * (1, 1, 0)))


def _stone(p: np.ndarray, amplitude, scale, direction) -> np.ndarray:
    x, y = p[:, 0] * 1.7 * scale, p[:, 1] * 1.7 * scale
    return 1 + 0.10 * np.sin(x * 1.3 + 2 * np.sin(y * 0.9)) * np.cos(y * 1.1 + np.sin(x))


def _hash(cells: np.ndarray) -> np.ndarray:
    """A number 0..1 for each row of whole numbers (N, 3)."""
    c = cells.astype(np.int64)
    h = c[:, 0] * 73856093 ^ c[:, 1] * 19349663 ^ c[:, 2] * 83492791
    h = (h ^ (h >> 13)) * 1274126177
    return ((h >> 8) & 0xFFFF).astype(np.float32) / 65535


_TEXTURES = {
    'stripes': _stripes,
    'panels': _panels,
    'blotches': _blotches,
    'tiles': _tiles,
    'wood': _wood,
    'carpet': _carpet,
    'stone': _stone,
}
