"""Linear probes on a tower's unmerged tokens: each patch's NYUv2 class, and its log depth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.real import nyu
from tosa_ros.errors import DataError
from tosa_ros.files import whole_file
from tosa_ros.spatial import PatchGrid, pool_depth

OTHER = nyu.CLASSES.index('other or none')  # also of pixels that nobody labelled
LABELS = OTHER
EPOCHS, BATCH, RATE, DECAY = 8, 4096, 3e-3, 0.6


@dataclass(frozen=True, eq=False)
class Probes:
    """Weights on standardised tokens (D): classes (D, LABELS) and log depth (D, 1)."""

    mean: Tensor
    std: Tensor
    weight: Tensor
    bias: Tensor

    def classes(self, tokens: Tensor) -> Tensor:
        """(N, D) -> logits (N, LABELS)."""
        return self._out(tokens)[:, :LABELS]

    def depth(self, tokens: Tensor) -> Tensor:
        """(N, D) -> log metres (N,)."""
        return self._out(tokens)[:, LABELS]

    def _out(self, tokens: Tensor) -> Tensor:
        return ((tokens - self.mean) / self.std) @ self.weight + self.bias


def patch_labels(labels: np.ndarray, grid: PatchGrid) -> np.ndarray:
    """(H, W) classes -> (N,) int64: that of more than half of a patch; -1 where none is.

    A pixel counts for the patch that its middle lies in.
    """
    height, width = labels.shape
    row, column = (
        ((np.arange(n) + 0.5 - low) * count / (high - low)).astype(int)
        for n, low, high, count in (
            (height, grid.top, grid.bottom, grid.rows),
            (width, grid.left, grid.right, grid.cols),
        )
    )
    patch = row[:, None] * grid.cols + column[None]
    kinds = len(nyu.CLASSES)
    cells = np.bincount((patch * kinds + labels).ravel(), minlength=grid.patches * kinds)
    area = cells.reshape(grid.patches, kinds)
    which = area.argmax(axis=1)
    which[(area.max(axis=1) <= 0.5 * area.sum(axis=1)) | (which == OTHER)] = -1
    return which


def trained(path: Path, key: str, tokens_of, folder: Path, numbers: list[int]) -> Probes:
    """Probes of the frames' tokens; kept in `path`, and read from it where it has this key.

    tokens_of(scene) -> dense tokens after the final norm (N, D), and the patch grid.
    """
    if path.exists():
        held = torch.load(path, weights_only=True)
        if held['key'] == key:
            return Probes(*held['weights'])
    tokens, labels, depth = [], [], []
    for number in numbers:
        scene = nyu.scene(folder, number)
        dense, grid = tokens_of(scene)
        tokens.append(dense.half())
        labels.append(torch.from_numpy(patch_labels(scene.labels, grid)))
        depth.append(pool_depth(torch.from_numpy(scene.depth_m), grid).log())
    if not tokens:
        raise DataError(f'{folder}: no training frames for the probes')
    probes = _fit(torch.cat(tokens), torch.cat(labels), torch.cat(depth))
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = [probes.mean, probes.std, probes.weight, probes.bias]
    with whole_file(path) as partial, partial.open('wb') as file:
        torch.save({'key': key, 'weights': weights}, file)
    return probes


def _fit(tokens: Tensor, labels: Tensor, depth: Tensor) -> Probes:
    mean, std = tokens.float().mean(0), tokens.float().std(0) + 1e-6
    weight = torch.zeros(tokens.shape[1], LABELS + 1, requires_grad=True)
    bias = torch.zeros(LABELS + 1, requires_grad=True)
    optimiser = torch.optim.Adam([weight, bias], RATE)
    order = torch.Generator().manual_seed(0)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(tokens), generator=order).split(BATCH):
            out = ((tokens[rows].float() - mean) / std) @ weight + bias
            loss = F.cross_entropy(out[:, :LABELS], labels[rows], ignore_index=-1)
            known = depth[rows].isfinite()
            loss = loss + (out[:, LABELS] - depth[rows])[known].abs().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        for group in optimiser.param_groups:
            group['lr'] *= DECAY
    return Probes(mean, std, weight.detach(), bias.detach())
