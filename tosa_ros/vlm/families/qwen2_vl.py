"""Qwen2-VL: images of any size, four patches a token, positions of time, row and column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
    Qwen2VLImageProcessorPil,
    smart_resize,
)

from tosa_ros.errors import FrameError, ModelError
from tosa_ros.loading import one_line_errors
from tosa_ros.spatial import PatchGrid
from tosa_ros.vision import MergedEncoder
from tosa_ros.vlm.families.base import Position
from tosa_ros.vlm.families.whole import WholeModel
from tosa_ros.vlm.image_input import MAX_INPUT_PX, own_processor, preprocessed, tried
from tosa_ros.vlm.tokens import VisualTokens


class AnySize:
    """Preprocessing that keeps an image's shape: scaled to whole tokens, within the limits."""

    def __init__(self, processor: Qwen2VLImageProcessorPil) -> None:
        self._processor = processor
        self._token_px = processor.patch_size * processor.merge_size
        self._limits = processor.size['shortest_edge'], processor.size['longest_edge']
        if not 1 <= self._limits[0] <= self._limits[1] <= MAX_INPUT_PX**2:
            raise ModelError(
                f'size: {self._limits[0]} to {self._limits[1]} pixels an image; wanted rising '
                f'numbers, 1 to {MAX_INPUT_PX**2}'
            )

    def pixels(self, rgb: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 -> (patches, their pixels) float32, four patches of a token in a row."""
        return preprocessed(self._processor, rgb)['pixel_values'].float()

    def grid(self, width: int, height: int) -> PatchGrid:
        """The model's tokens over a width x height image."""
        side = self._token_px
        with one_line_errors(f'image of {width}x{height}', FrameError):
            tall, wide = smart_resize(height, width, side, *self._limits)
        return PatchGrid.over(tall // side, wide // side, width, height)


class Qwen2Vl(WholeModel):
    """Qwen2-VL."""

    title = 'Qwen2-VL'
    template = (
        "{% if messages[0]['role'] != 'system' %}"
        '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}'
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
        "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
        '{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}'
    )
    why_not = 'tower joins four neighbouring patches in one token, so they must stay a grid'
    sees = ('model.visual',)

    def image_input(self) -> AnySize:
        processor = own_processor(self.checkpoint, Qwen2VLImageProcessorPil)
        with self.checkpoint.loading_errors():
            return tried(AnySize(processor))

    def embed(
        self,
        half: nn.Module,
        tower: MergedEncoder | None,
        pixels: Sequence[Tensor],
        grids: Sequence[PatchGrid],
    ) -> Tensor:
        merge = self.checkpoint.config.vision_config.spatial_merge_size
        shapes = [(1, merge * grid.rows, merge * grid.cols) for grid in grids]
        return self.joined(
            half.model.get_image_features(
                torch.cat(list(pixels)).to(half.device, half.dtype),
                torch.tensor(shapes, device=half.device),
            )
        )

    def joined(self, output: Any) -> Tensor:
        """Embeddings (B, N, D) of the vision part's output for images of one shape."""
        return torch.stack(output.pooler_output)

    def at(self, place: int) -> Position:
        return place, place, place

    def positions(self, image: VisualTokens, start: int) -> tuple[list[Position], int]:
        """Rows and columns count on from the words before; the words behind from the larger."""
        places = [divmod(patch, image.columns) for patch in image.middle_patches()]
        side = max(image.columns, image.before // image.columns)
        return [(start, start + row, start + column) for row, column in places], start + side

    def read(
        self, model: PreTrainedModel, positions: Tensor, images: Tensor, **inputs: Any
    ) -> Tensor:
        return super().read(model, positions.permute(2, 0, 1), images, **inputs)
