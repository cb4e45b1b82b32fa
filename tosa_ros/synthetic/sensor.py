"""What a real depth camera makes of perfect depth: noise, steps, holes, a limited range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tosa_ros.errors import DataError


@dataclass(frozen=True)
class SensorModel:
    """A structured-light or stereo depth camera; all lengths in metres.

    noise_at_1m: standard deviation at 1 m; it grows with the square of the distance.
    disparity_step: the smallest step of inverse depth (1/m): quantisation, coarser far away.
    min_depth_m, max_depth_m: outside them nothing is measured.
    edge_jump: relative step between neighbours that makes a depth edge; edge_hole: share of the
        pixels at edges that go missing.
    grazing_cosine: surfaces seen more obliquely than this lose grazing_hole of their pixels.
    dark_level: colours darker than this (0..1) lose dark_hole of their pixels.
    """

    noise_at_1m: float = 0.0025
    disparity_step: float = 0.002
    min_depth_m: float = 0.3
    max_depth_m: float = 6.0
    edge_jump: float = 0.06
    edge_hole: float = 0.7
    grazing_cosine: float = 0.2
    grazing_hole: float = 0.6
    dark_level: float = 0.12
    dark_hole: float = 0.5

    def __post_init__(self) -> None:
        for name in ('noise_at_1m', 'disparity_step', 'edge_jump'):
            if not getattr(self, name) >= 0:
                raise DataError(f'sensor: {name} is {getattr(self, name)}; wanted 0 or more')
        for name in ('edge_hole', 'grazing_hole', 'dark_hole', 'grazing_cosine', 'dark_level'):
            if not 0 <= getattr(self, name) <= 1:
                raise DataError(f'sensor: {name} is {getattr(self, name)}; wanted 0 to 1')
        if not 0 <= self.min_depth_m < self.max_depth_m:
            raise DataError(
                f'sensor: range {self.min_depth_m} to {self.max_depth_m} m; '
                'wanted 0 <= min_depth_m < max_depth_m'
            )

    def measure(
        self,
        depth_m: np.ndarray,
        rgb: np.ndarray,
        rays: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Measured depth (H, W) float32, NaN where the sensor sees nothing.

        Args:
            depth_m: exact depth (H, W) metres. rgb: (H, W, 3) uint8 of the same view.
            rays: (H, W, 3), 1 long along z, to know how obliquely surfaces are seen.
        """
        depth = depth_m.astype(np.float32)
        measured = depth + rng.standard_normal(depth.shape, np.float32) * (
            self.noise_at_1m * depth**2
        )
        if self.disparity_step > 0:
            steps = np.maximum(np.round(1 / measured / self.disparity_step), 1)
            measured = 1 / (steps * self.disparity_step)
        lost = (rgb.max(-1) < self.dark_level * 255) * self.dark_hole
        lost = np.maximum(lost, self._edges(depth) * self.edge_hole)
        lost = np.maximum(lost, self._grazing(depth, rays) * self.grazing_hole)
        hole = rng.random(depth.shape, np.float32) < lost
        hole |= ~((measured >= self.min_depth_m) & (measured <= self.max_depth_m))
        return np.where(hole, np.float32(np.nan), measured).astype(np.float32)

    def _edges(self, depth: np.ndarray) -> np.ndarray:
        edge = np.zeros(depth.shape, bool)
        for axis in (0, 1):
            a = depth[1:] if axis == 0 else depth[:, 1:]
            b = depth[:-1] if axis == 0 else depth[:, :-1]
            jump = np.abs(a - b) > self.edge_jump * np.minimum(a, b)
            if axis == 0:
                edge[1:] |= jump
                edge[:-1] |= jump
            else:
                edge[:, 1:] |= jump
                edge[:, :-1] |= jump
        return edge

    def _grazing(self, depth: np.ndarray, rays: np.ndarray) -> np.ndarray:
        points = rays * depth[..., None]
        down, right = np.gradient(points, axis=(0, 1))
        normals = np.cross(down, right)
        lengths = np.linalg.norm(normals, axis=-1) * np.linalg.norm(rays, axis=-1)
        cosine = np.abs(np.einsum('...i,...i->...', normals, rays)) / (lengths + 1e-12)
        return cosine < self.grazing_cosine
