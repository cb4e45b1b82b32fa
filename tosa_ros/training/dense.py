"""Dense pre-training: a throw-away head reads the simulator's labels off the tower's tokens.

Each token stands for a patch of 2 x 2 cells. For each cell: the object's shape, colour, size,
state and its room's floor, where its middle is, whether this cell is that middle, and the depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CELLS = 2  # a side of a patch
ATTRIBUTES = ('shape', 'colour', 'size', 'state', 'floor')
DENSE_TERMS = (*ATTRIBUTES, 'offset', 'middle', 'depth')
REGRESSION = 4  # offset x, offset y, middle, log depth
OFFSET_CELLS = 8.0  # offsets are in units of so many cells


@dataclass(frozen=True, eq=False)
class Labels:
    """attributes: (N, 5, C, C) int64 class of each cell, 0 where there is no object.
    offset: (N, 2, C, C). middle, depth, known: (N, C, C); known: whether depth is.
    """

    attributes: Tensor
    offset: Tensor
    middle: Tensor
    depth: Tensor
    known: Tensor


def make_labels(instances: Tensor, depth: Tensor, objects: Tensor, grid: int) -> Labels:
    """Labels of N views.

    Args:
        instances: (N, H, W) int8, -1 none. depth: (N, H, W) metres, NaN unknown.
        objects: (N, K, 5) uint8, the classes of each object. grid: patches a side.
    """
    cells = grid * CELLS
    step = instances.shape[-1] // cells
    index = instances[:, step // 2 :: step, step // 2 :: step].long()
    metres = depth[:, step // 2 :: step, step // 2 :: step].float()
    N, K = objects.shape[:2]
    flat = index.reshape(N, -1)
    there = flat >= 0
    slot = flat.clamp(min=0)
    attributes = objects.long().gather(1, slot[..., None].expand(-1, -1, len(ATTRIBUTES))) + 1
    attributes = attributes.masked_fill(~there[..., None], 0)
    place = torch.stack(
        torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing='xy'), -1
    ).view(1, -1, 2)
    place = place.to(flat.device).float().expand(N, -1, -1)
    weight = there.float()
    count = torch.zeros(N, K, device=flat.device).scatter_add_(1, slot, weight).clamp(min=1)
    total = torch.zeros(N, K, 2, device=flat.device)
    total.scatter_add_(1, slot[..., None].expand(-1, -1, 2), place * weight[..., None])
    centre = (total / count[..., None]).gather(1, slot[..., None].expand(-1, -1, 2))
    offset = centre - place
    distance = offset.square().sum(-1).masked_fill(~there, float('inf'))
    nearest = torch.full((N, K), float('inf'), device=flat.device)
    nearest = nearest.scatter_reduce(1, slot, distance, 'amin').gather(1, slot)
    middle = (there & (distance <= nearest)).float()
    known = metres.isfinite() & (metres > 0)
    return Labels(
        attributes.transpose(1, 2).view(N, len(ATTRIBUTES), cells, cells),
        (offset / OFFSET_CELLS).transpose(1, 2).view(N, 2, cells, cells),
        middle.view(N, cells, cells),
        torch.where(known, metres, 1.0).log(),
        known,
    )


class DenseHead(nn.Module):
    """Tower tokens (N, T, D) to (N, channels, C, C) predictions for the cells."""

    def __init__(self, width: int, classes: tuple[int, ...]) -> None:
        super().__init__()
        self.classes = tuple(c + 1 for c in classes)  # 0 means no object
        self.channels = sum(self.classes) + REGRESSION
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, self.channels * CELLS * CELLS)

    def forward(self, tokens: Tensor) -> Tensor:
        grid = int(tokens.shape[1] ** 0.5)
        cells = self.out(self.norm(tokens)).transpose(1, 2)
        return F.pixel_shuffle(cells.reshape(tokens.shape[0], -1, grid, grid), CELLS)

    def loss(self, predicted: Tensor, labels: Labels) -> dict[str, Tensor]:
        """One term for each attribute and for offset, middle and depth."""
        *scores, offset, middle, depth = predicted.float().split((*self.classes, 2, 1, 1), dim=1)
        there = labels.attributes[:, 0] > 0
        # Objects and background weigh the same, however little of the view objects fill.
        share = there.float().mean().clamp(0.01, 0.99)
        weight = torch.where(there, 0.5 / share, 0.5 / (1 - share))
        terms = {
            name: (F.cross_entropy(s, labels.attributes[:, i], reduction='none') * weight).mean()
            for i, (name, s) in enumerate(zip(ATTRIBUTES, scores, strict=True))
        }
        inside = there.float() / there.float().sum().clamp(min=1)
        terms['offset'] = ((offset - labels.offset).abs().sum(1) * inside).sum()
        terms['middle'] = (
            F.binary_cross_entropy_with_logits(middle[:, 0], labels.middle, reduction='none')
            * inside
        ).sum()
        known = labels.known.float() / labels.known.float().sum().clamp(min=1)
        terms['depth'] = ((depth[:, 0] - labels.depth).abs() * known).sum()
        return terms
