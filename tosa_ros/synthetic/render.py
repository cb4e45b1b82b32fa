"""Renders a view of the tiny world: colour, exact depth and which object every pixel shows.

Rays are cast by Open3D on the CPU; paint, light and shadows are numpy on the hit points.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from tosa_ros.errors import DataError, MissingDependencyError, MissingLibraryError
from tosa_ros.frames import Intrinsics
from tosa_ros.synthetic.meshes import shape_mesh, unit_box
from tosa_ros.synthetic.objects import SceneObject, vertices_of
from tosa_ros.synthetic.rooms import WALL_M, Room, Surface
from tosa_ros.synthetic.textures import paint

FIELD_OF_VIEW_DEG = 62.0
STRUCTURE = -1  # floor, walls and decoration in an instance map
NEAR_M = 0.15
SIZES_PX = (32, 2048)


@dataclass(frozen=True)
class Light:
    """A lamp in each room at `positions` (world, metres), walls keep its light inside.

    ambient, direct: shares of light from all around and from the lamp.
    """

    positions: tuple[tuple[float, float, float], ...]
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    ambient: float = 0.5
    direct: float = 0.62
    noise: float = 0.008


@dataclass(frozen=True, eq=False)
class View:
    """rgb (H, W, 3) uint8; depth_m (H, W) float32, NaN where nothing is hit; instances (H, W)."""

    rgb: np.ndarray
    depth_m: np.ndarray
    instances: np.ndarray


def camera(size: int) -> Intrinsics:
    """The world's square camera, `size` pixels wide.

    Raises:
        DataError: size is not a whole number of pixels in SIZES_PX.
    """
    low, high = SIZES_PX
    if not isinstance(size, (int, np.integer)) or not low <= size <= high:
        raise DataError(f'size: {size!r} pixels; wanted a whole number from {low} to {high}')
    focal = size / 2 / np.tan(np.radians(FIELD_OF_VIEW_DEG) / 2)
    return Intrinsics(focal, focal, (size - 1) / 2, (size - 1) / 2, int(size), int(size))


def look(eye: tuple[float, float, float], yaw: float, pitch: float) -> np.ndarray:
    """Camera-to-world pose (4, 4), optical frame; yaw 0 looks along +y, left is positive.

    Args:
        eye: camera position, metres. yaw, pitch: radians; positive pitch looks down.
    """
    forward = np.array([-np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), -np.sin(pitch)])
    right = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = eye
    return pose


class Stage:
    """Rooms, in the order of x, and things as one scene; renders any number of views of it."""

    def __init__(self, rooms: tuple[Room, ...], things: tuple[SceneObject, ...]) -> None:
        o3d = _open3d()
        self._tensor = o3d.core.Tensor
        self._room_ends = np.array([room.high[0] + WALL_M for room in rooms[:-1]], np.float32)
        vertices, normals, triangles, owners, self._surfaces = _assemble(rooms, things)
        self._corner_normals = normals[triangles]  # (T, 3, 3)
        self._owners = owners  # (T, 2): object index, surface index
        self._scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        self._scene.add_triangles(self._tensor(vertices), self._tensor(triangles))
        self._origins = np.array([t.centre for t in things] + [(0.0, 0.0, 0.0)], np.float32)

    def view(
        self, k: Intrinsics, pose: np.ndarray, light: Light, rng: np.random.Generator
    ) -> View:
        """Colour, depth and instances (int16, STRUCTURE where no object is) seen from `pose`."""
        rays = pixel_rays(k).reshape(-1, 3) @ pose[:3, :3].T.astype(np.float32)
        eye = pose[:3, 3].astype(np.float32)
        cast = self._scene.cast_rays(self._tensor(_six(eye, rays)), nthreads=1)
        depth = cast['t_hit'].numpy()
        hit = np.isfinite(depth)
        depth = np.where(hit, depth, np.float32(np.nan))
        primitive = np.where(hit, cast['primitive_ids'].numpy(), 0)
        owner, surface = self._owners[primitive].T
        points = eye + rays * depth[:, None]
        normals = self._smooth_normals(primitive, cast['primitive_uvs'].numpy(), rays)
        rgb = paint(self._surfaces, surface, points - self._origins[owner])
        rgb *= self._lighting(points, normals, light)[:, None] * np.float32(light.tint)
        rgb += rng.standard_normal(rgb.shape, np.float32) * np.float32(light.noise)
        rgb[~hit] = 0
        shape = k.height, k.width
        return View(
            (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8).reshape(*shape, 3),
            depth.reshape(shape),
            np.where(hit, owner, np.int16(STRUCTURE)).reshape(shape),
        )

    def _smooth_normals(
        self, primitive: np.ndarray, uv: np.ndarray, rays: np.ndarray
    ) -> np.ndarray:
        """(N, 3) normals interpolated between a triangle's corners, towards the camera."""
        weights = np.concatenate([1 - uv[:, :1] - uv[:, 1:], uv], axis=1)
        normals = np.matmul(weights[:, None], self._corner_normals[primitive])[:, 0]
        facing = np.einsum('ni,ni->n', normals, rays)
        lengths = np.sqrt(np.einsum('ni,ni->n', normals, normals))
        return normals / (np.where(facing > 0, -lengths, lengths) + 1e-12)[:, None]

    def _lighting(self, points: np.ndarray, normals: np.ndarray, light: Light) -> np.ndarray:
        """(N,) brightness: light from everywhere, and from the lamp where it reaches."""
        start = points + normals * np.float32(0.01)
        lamps = np.asarray(light.positions, np.float32)
        towards = lamps[np.searchsorted(self._room_ends, points[:, 0])] - start
        hidden = self._scene.test_occlusions(
            self._tensor(_six(start, towards)), tnear=0.0, tfar=1.0, nthreads=1
        ).numpy()
        lengths = np.sqrt(np.einsum('ni,ni->n', towards, towards))
        facing = np.clip(np.einsum('ni,ni->n', normals, towards) / lengths, 0, 1)
        sky = 0.92 + 0.08 * normals[:, 2]
        return light.ambient * sky + light.direct * facing * ~hidden


def _six(origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """(N, 6) float32 rays as Open3D takes them."""
    rays = np.empty((len(directions), 6), np.float32)
    rays[:, :3] = origins
    rays[:, 3:] = directions
    return rays


@lru_cache(maxsize=8)
def pixel_rays(k: Intrinsics) -> np.ndarray:
    """(H, W, 3) float32 rays through the pixels' centres, optical frame, 1 long along z.

    So a ray's length parameter is the depth along the optical axis. Not to be written to.
    """
    u = (np.arange(k.width, dtype=np.float32) - np.float32(k.cx)) / np.float32(k.fx)
    v = (np.arange(k.height, dtype=np.float32) - np.float32(k.cy)) / np.float32(k.fy)
    u, v = np.meshgrid(u, v)
    rays = np.stack([u, v, np.ones_like(u)], axis=-1)
    rays.flags.writeable = False
    return rays


def silhouette_pixels(thing: SceneObject, k: Intrinsics, pose: np.ndarray) -> float:
    """How many pixels a thing would cover alone and uncropped; inf if it reaches behind NEAR_M."""
    vertices, _ = vertices_of(thing)
    seen = (vertices - pose[:3, 3]) @ pose[:3, :3]
    if seen[:, 2].min() < NEAR_M:
        return float('inf')
    pixels = seen[:, :2] / seen[:, 2:] * (k.fx, k.fy)
    oversample = 3.0 if np.ptp(pixels, axis=0).max() < 200 else 1.0
    pixels = (pixels - pixels.min(0)) * oversample + 1
    canvas = Image.new('L', tuple(int(s) + 3 for s in np.ptp(pixels, axis=0)))
    draw = ImageDraw.Draw(canvas)
    for start, stop in shape_mesh(thing.shape).parts:
        part = pixels[start:stop]
        outline = part[np.argmax(part @ _DIRECTIONS, axis=0)]  # the hull's corners, in order
        draw.polygon(outline.ravel().tolist(), fill=1)
    return float(np.count_nonzero(canvas)) / oversample**2


_ANGLES = np.arange(48) * 2 * np.pi / 48
_DIRECTIONS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)])


def _assemble(rooms: tuple[Room, ...], things: tuple[SceneObject, ...]) -> tuple:
    vertices, normals, triangles, owners, surfaces = [], [], [], [], []

    def add(v: np.ndarray, n: np.ndarray, t: np.ndarray, owner: int, surface: Surface) -> None:
        start = np.uint32(sum(map(len, vertices)))
        vertices.append(v)
        normals.append(n)
        triangles.append(t + start)
        owners.append(np.tile(np.array([owner, len(surfaces)], np.int16), (len(t), 1)))
        surfaces.append(surface)

    unit = unit_box()
    for slab in (s for room in rooms for s in room.slabs):
        low, high = np.array(slab.low, np.float32), np.array(slab.high, np.float32)
        placed = unit.vertices * (high - low) + (low + high) / 2
        add(placed, unit.normals, unit.triangles, STRUCTURE, slab.surface)
    for i, thing in enumerate(things):
        add(*vertices_of(thing), shape_mesh(thing.shape).triangles, i, thing.surface)
    return (
        np.concatenate(vertices).astype(np.float32),
        np.concatenate(normals).astype(np.float32),
        np.concatenate(triangles),
        np.concatenate(owners),
        surfaces,
    )


def _open3d() -> object:
    try:
        import open3d
    except ImportError as error:
        if 'libusb' in str(error):
            raise MissingLibraryError(
                'libusb-1.0', 'libusb-1.0-0', 'rendering the tiny world with Open3D'
            ) from error
        raise MissingDependencyError('open3d', 'pointcloud', 'rendering the tiny world') from error
    return open3d
