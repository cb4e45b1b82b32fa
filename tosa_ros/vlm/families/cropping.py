"""Tiles whose tokens are read one tile behind the other: InternVL's, Idefics3's and Gemma 3's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import (
    GotOcr2ImageProcessorPil,
    get_optimal_tiled_canvas,
)
from transformers.models.idefics3.image_processing_pil_idefics3 import (
    Idefics3ImageProcessorPil,
    get_resize_output_image_size,
)

from tosa_ros.errors import ModelError
from tosa_ros.spatial import PatchGrid
from tosa_ros.vlm.image_input import preprocessed
from tosa_ros.vlm.tiles import Tiling

MOST_TILES = 100
Box = tuple[float, float, float, float]


class Canvas:
    """InternVL: stretched to rows x columns of squares, and the whole image behind them.

    side: tokens along a side of a tile.
    """

    def __init__(self, processor: GotOcr2ImageProcessorPil, side: int) -> None:
        most = _checked_count(processor, 'max_patches', 1)
        if _checked_count(processor, 'min_patches', 1) > most:
            raise ModelError(f'min_patches is {processor.min_patches}, but max_patches {most}')
        self._processor = processor
        self._side = side

    def pixels(self, rgb: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 -> (tiles, 3, S, S) float32."""
        return preprocessed(self._processor, rgb)['pixel_values'].float()

    def tiling(self, width: int, height: int) -> Tiling:
        """The tiles of a width x height image, row by row, then the whole if there are several."""
        size, own = self._processor.size, self._processor
        cols, rows = get_optimal_tiled_canvas(
            (height, width), (size.height, size.width), own.min_patches, own.max_patches
        )
        return _split(rows, cols, self._side, width, height)


class Split:
    """Idefics3, SmolVLM: stretched to whole squares of its size, and the whole image behind."""

    def __init__(self, processor: Idefics3ImageProcessorPil, side: int) -> None:
        self._processor = processor
        self._side = side

    def pixels(self, rgb: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 -> (tiles, 3, S, S) float32."""
        return preprocessed(self._processor, rgb)['pixel_values'][0].float()

    def tiling(self, width: int, height: int) -> Tiling:
        """The tiles of a width x height image, row by row, then the whole if there are several."""
        tile = self._processor.max_image_size['longest_edge']
        shape = np.broadcast_to(np.uint8(0), (3, height, width))
        tall, wide = get_resize_output_image_size(shape, self._processor.size['longest_edge'])
        aspect = wide / tall
        if wide >= tall:
            cols = math.ceil(wide / tile)
            rows = math.ceil(int(cols * tile / aspect) / tile)
        else:
            rows = math.ceil(tall / tile)
            cols = math.ceil(int(rows * tile * aspect) / tile)
        return _split(rows, cols, self._side, width, height)


class PanAndScan:
    """Gemma 3: the whole image, then crops side by side of one that is much longer than wide."""

    def __init__(self, processor: Gemma3ImageProcessorPil, side: int) -> None:
        _checked_count(processor, 'pan_and_scan_max_num_crops', 2)
        self._processor = processor
        self._side = side

    def pixels(self, rgb: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 -> (tiles, 3, S, S) float32."""
        return preprocessed(self._processor, rgb)['pixel_values'].float()

    def tiling(self, width: int, height: int) -> Tiling:
        """The tiles of a width x height image, the whole first."""
        own = self._processor
        crops = own.pan_and_scan(
            np.broadcast_to(np.uint8(0), (3, height, width)),
            own.pan_and_scan_min_crop_size,
            own.pan_and_scan_max_num_crops,
            own.pan_and_scan_min_ratio_to_activate,
        )
        boxes: list[Box] = [(0.0, 0.0, float(width), float(height))]
        left = top = 0.0
        for crop in crops:
            tall, wide = crop.shape[1:]
            boxes.append((left, top, left + wide, top + tall))
            left, top = (left + wide, 0.0) if width >= height else (0.0, top + tall)
        return Tiling.one_by_one(_grids(boxes, self._side, width, height))


def _checked_count(processor: Any, name: str, least: int) -> int:
    """A number of tiles that the processor has by this name."""
    value = getattr(processor, name)
    if not isinstance(value, int) or not least <= value <= MOST_TILES:
        raise ModelError(f'{name} is {value!r}; wanted a number, {least} to {MOST_TILES}')
    return value


def _split(rows: int, cols: int, side: int, width: int, height: int) -> Tiling:
    """rows x cols equal tiles and the whole, or the whole alone."""
    wide, tall = width / cols, height / rows
    boxes = [
        (wide * col, tall * row, wide * (col + 1), tall * (row + 1))
        for row in range(rows)
        for col in range(cols)
    ]
    if len(boxes) > 1:
        boxes.append((0.0, 0.0, float(width), float(height)))
    return Tiling.one_by_one(_grids(boxes, side, width, height), across=cols)


def _grids(boxes: Sequence[Box], side: int, width: int, height: int) -> list[PatchGrid]:
    return [PatchGrid(side, side, *box, width, height) for box in boxes]
