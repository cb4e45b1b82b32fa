"""AnyRes: LLaVA-NeXT's and OneVision's tiles, the base image and a finer one cut into squares.

The finer image's tokens are read row by row across its tiles, without those of padding.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from transformers.image_processing_utils import get_patch_output_size, select_best_resolution
from transformers.image_utils import ChannelDimension
from transformers.models.llava_next.modeling_llava_next import unpad_image

from tosa_ros.errors import ModelError, printable
from tosa_ros.spatial import PatchGrid
from tosa_ros.vlm.image_input import checked_pixels, own_processor, preprocessed, tried
from tosa_ros.vlm.tiles import Tiling

if TYPE_CHECKING:
    from tosa_ros.vlm.checkpoint import Checkpoint

# transformers brings the finer image down where it has more tokens than this allows for.
MORE_THAN = 1.1


class AnyRes:
    """Tiles of one checkpoint.

    most: squares whose tokens the finer image has at most; more are brought down to that.
    """

    def __init__(self, checkpoint: Checkpoint, processor: type, most: int | None = None) -> None:
        config = checkpoint.config
        self._side = checked_pixels(config.vision_config.image_size, 'vision_config.image_size')
        self._patch = config.vision_config.patch_size
        self._most = most
        self._sizes = config.image_grid_pinpoints
        self._processor = own_processor(checkpoint, processor)
        with checkpoint.loading_errors():
            self._check(checkpoint.path)
            tried(self)

    def _check(self, path: str) -> None:
        own = [list(size) for size in self._processor.image_grid_pinpoints or ()]
        if own != [list(size) for size in self._sizes]:
            raise ModelError(
                f'{path}: image_grid_pinpoints of the image processor, {printable(str(own), 60)}, '
                f"are not the model's, {printable(str(self._sizes), 60)}"
            )
        for size in self._sizes:
            for length in size:
                if checked_pixels(length, 'image_grid_pinpoints') % self._side:
                    raise ModelError(
                        f'{path}: image_grid_pinpoints has {size}; wanted multiples of '
                        f'{self._side}, the side of a tile'
                    )

    def pixels(self, rgb: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 -> (tiles, 3, S, S) float32, the base image first."""
        return preprocessed(self._processor, rgb)['pixel_values'][0].float()

    def tiling(self, width: int, height: int) -> Tiling:
        """The tiles of a width x height image; its grids are the base image's and the finer's."""
        patches = self._side // self._patch
        tall, wide = select_best_resolution((height, width), self._sizes)
        rows, cols = tall // self._side, wide // self._side
        fine = self._fine(rows, cols, width, height)
        grids = [(patches, patches), tuple(fine.shape)]
        order, scaled = fine, None
        over = math.sqrt(fine.numel() / (self._most * patches**2)) if self._most else 0
        if over > MORE_THAN:
            grids[1] = tuple(int(length // over) for length in fine.shape)
            scaled, order = fine, fine[_nearest(fine.shape[0], grids[1][0])]
            order = order[:, _nearest(fine.shape[1], grids[1][1])]
        return Tiling(
            tiles=(self._base(width, height), *self._boxes(rows, cols, width, height)),
            grids=tuple(grids),
            order=torch.cat([torch.arange(patches**2), order.flatten()]),
            scaled=scaled,
        )

    def _fine(self, rows: int, cols: int, width: int, height: int) -> Tensor:
        """The patches of rows x cols tiles behind the base image, put together and unpadded."""
        patches = self._side // self._patch
        count = torch.arange(rows * cols * patches**2) + patches**2
        grid = count.view(rows, cols, patches, patches).transpose(1, 2)
        grid = grid.reshape(1, rows * patches, cols * patches)
        return unpad_image(grid, (height, width))[0]

    def _base(self, width: int, height: int) -> PatchGrid:
        """The whole image, stretched."""
        return self._square(0, 0, width / self._side, height / self._side, width, height)

    def _boxes(self, rows: int, cols: int, width: int, height: int) -> list[PatchGrid]:
        """The tiles of the image scaled to rows x cols squares and padded around its middle."""
        size = (rows * self._side, cols * self._side)
        shape = np.broadcast_to(np.uint8(0), (3, height, width))
        tall, wide = get_patch_output_size(shape, size, ChannelDimension.FIRST)
        across, down = width / wide, height / tall
        left, top = (size[1] - wide) // 2, (size[0] - tall) // 2
        return [
            self._square(
                (self._side * col - left) * across,
                (self._side * row - top) * down,
                across,
                down,
                width,
                height,
            )
            for row in range(rows)
            for col in range(cols)
        ]

    def _square(
        self, left: float, top: float, across: float, down: float, width: int, height: int
    ) -> PatchGrid:
        """A tile's patches; across, down: the frame's pixels in one of the tile's."""
        patches = self._side // self._patch
        seen = patches * self._patch
        right, bottom = left + seen * across, top + seen * down
        return PatchGrid(patches, patches, left, top, right, bottom, width, height)


def _nearest(count: int, fewer: int) -> Tensor:
    """Of `fewer` equal parts of a length of `count`, the one of `count` at each one's middle."""
    return ((torch.arange(fewer) + 0.5) * count / fewer).long()
