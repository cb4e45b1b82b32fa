"""Triangle meshes of everything that can stand in the tiny world, in metres, on the floor z = 0.

Meshes are made once and reused: a scene scales, turns and moves copies of their vertices.
Coloured shapes are the world's vocabulary of things (SHAPES).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

SIMPLE_SHAPES = ('box', 'ball', 'cylinder', 'cone')
FURNITURE = ('table', 'chair', 'sofa', 'lamp')
SHAPES = SIMPLE_SHAPES + FURNITURE

SEGMENTS = 20  # around a round thing: smooth at the sizes that are rendered
TABLE_HEIGHT_M = 0.8
TABLE_TOP_M = 0.08


@dataclass(frozen=True, eq=False)
class Mesh:
    """vertices, normals (V, 3) float32; triangles (T, 3) uint32; convex parts as vertex ranges."""

    vertices: np.ndarray
    normals: np.ndarray
    triangles: np.ndarray
    parts: tuple[tuple[int, int], ...]


@cache
def unit_box() -> Mesh:
    """A cube of side 1 around the origin, its corners split so that faces stay flat."""
    vertices, normals, triangles = [], [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            normal = np.zeros(3)
            normal[axis] = sign
            a, b = np.roll(normal, 1), np.roll(normal, 2) * sign
            start = len(vertices)
            for s, t in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                vertices.append((normal + s * a + t * b) / 2)
                normals.append(normal)
            triangles += [(start, start + 1, start + 2), (start, start + 2, start + 3)]
    return _mesh(vertices, normals, triangles)


def box(size: tuple[float, float, float], base: tuple[float, float, float]) -> Mesh:
    """A box of `size` whose bottom face is centred on `base`."""
    unit = unit_box()
    middle = np.add(base, (0, 0, size[2] / 2))
    return _mesh(unit.vertices * size + middle, unit.normals, unit.triangles)


def ball(radius: float) -> Mesh:
    """A ball that touches the floor."""
    rings = SEGMENTS // 2
    theta = np.linspace(np.pi, 0, rings + 1)
    phi = np.arange(SEGMENTS) * 2 * np.pi / SEGMENTS
    theta, phi = np.meshgrid(theta, phi, indexing='ij')
    normals = np.stack(
        [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1
    ).reshape(-1, 3)
    return _mesh(normals * radius + (0, 0, radius), normals, _strip_triangles(rings + 1))


def frustum(bottom: float, top: float, height: float, base_z: float = 0.0) -> Mesh:
    """A round body from radius `bottom` to radius `top`: cylinder, cone, lamp shade."""
    phi = np.arange(SEGMENTS) * 2 * np.pi / SEGMENTS
    ring = np.stack([np.cos(phi), np.sin(phi), np.zeros(SEGMENTS)], -1)
    low = ring * bottom + (0, 0, base_z)
    high = ring * top + (0, 0, base_z + height)
    slope = np.add(ring, (0, 0, (bottom - top) / height))
    slope /= np.linalg.norm(slope, axis=1, keepdims=True)
    vertices, normals = [low, high], [slope, slope]
    triangles = list(_strip_triangles(2))
    for circle, direction in ((low, -1.0), (high, 1.0)):
        start = sum(len(v) for v in vertices)
        vertices.append(circle)
        normals.append(np.tile((0, 0, direction), (SEGMENTS, 1)))
        turn = int(direction)  # anticlockwise as seen from outside
        triangles += [(start, start + i, start + i + 1)[::turn] for i in range(1, SEGMENTS - 1)]
    return _mesh(np.concatenate(vertices), np.concatenate(normals), triangles)


def join(*meshes: Mesh) -> Mesh:
    """One mesh of several convex ones."""
    starts = np.cumsum([0] + [len(m.vertices) for m in meshes])
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.normals for m in meshes]),
        np.concatenate([m.triangles + np.uint32(s) for m, s in zip(meshes, starts, strict=False)]),
        tuple(
            (int(s) + a, int(s) + b)
            for m, s in zip(meshes, starts, strict=False)
            for a, b in m.parts
        ),
    )


@cache
def shape_mesh(shape: str) -> Mesh:
    """The mesh of one of SHAPES, upright, its front towards -y."""
    return _BUILDERS[shape]()


def _legs(width: float, depth: float, height: float, thickness: float) -> list[Mesh]:
    x, y = (width - thickness) / 2, (depth - thickness) / 2
    return [
        box((thickness, thickness, height), (sx * x, sy * y, 0))
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]


def _table() -> Mesh:
    under = TABLE_HEIGHT_M - TABLE_TOP_M
    return join(box((1.3, 0.95, TABLE_TOP_M), (0, 0, under)), *_legs(1.3, 0.95, under, 0.1))


def _chair() -> Mesh:
    return join(
        box((0.62, 0.62, 0.1), (0, 0, 0.45)),
        box((0.62, 0.1, 0.6), (0, 0.26, 0.55)),
        *_legs(0.62, 0.62, 0.45, 0.1),
    )


def _sofa() -> Mesh:
    return join(
        box((1.6, 0.8, 0.4), (0, 0, 0)),
        box((1.6, 0.24, 0.5), (0, 0.28, 0.4)),
        box((0.22, 0.8, 0.25), (-0.69, 0, 0.4)),
        box((0.22, 0.8, 0.25), (0.69, 0, 0.4)),
    )


def _lamp() -> Mesh:
    return join(
        frustum(0.27, 0.24, 0.08), frustum(0.06, 0.06, 1.1, 0.08), frustum(0.4, 0.24, 0.45, 1.1)
    )


_BUILDERS = {
    'box': lambda: box((0.48, 0.48, 0.44), (0, 0, 0)),
    'ball': lambda: ball(0.25),
    'cylinder': lambda: frustum(0.21, 0.21, 0.55),
    'cone': lambda: frustum(0.28, 0.0, 0.58),
    'table': _table,
    'chair': _chair,
    'sofa': _sofa,
    'lamp': _lamp,
}


def _strip_triangles(rings: int) -> np.ndarray:
    i, j = np.meshgrid(np.arange(rings - 1), np.arange(SEGMENTS), indexing='ij')
    a, b = i * SEGMENTS + j, i * SEGMENTS + (j + 1) % SEGMENTS
    c, d = a + SEGMENTS, b + SEGMENTS
    return np.concatenate([np.stack([a, b, c], -1), np.stack([b, d, c], -1)]).reshape(-1, 3)


def _mesh(vertices: object, normals: object, triangles: object) -> Mesh:
    vertices = np.asarray(vertices, np.float32)
    return Mesh(
        vertices,
        np.asarray(normals, np.float32),
        np.asarray(triangles, np.uint32),
        ((0, len(vertices)),),
    )
