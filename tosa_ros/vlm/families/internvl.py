"""InternVL (-hf checkpoints): stretched tiles, whose patches are shuffled four to a token."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor, nn
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

from tosa_ros.vision import MergedTokens
from tosa_ros.vlm.families.cropping import Canvas
from tosa_ros.vlm.families.whole import WholeModel
from tosa_ros.vlm.image_input import ImageInput, own_processor, tried

if TYPE_CHECKING:
    from tosa_ros.vlm.checkpoint import Checkpoint


class InternVl(WholeModel):
    """InternVL 2.5, 3 and 3.5."""

    title = 'InternVL'
    template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}<IMG_CONTEXT>\n{% else %}{{ c['text'] }}{% endif %}"
        '{% endfor %}<|im_end|>\n{% endfor %}'
        '{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}'
    )

    roads = ('output', 'tower')
    why_not = 'language model reads a layer of the tower that is not its last'

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        config = checkpoint.config
        if (config.vision_feature_layer, config.vision_feature_select_strategy) != (-1, 'default'):
            self.roads = ('output',)

    @property
    def joins(self) -> int:
        return round(1 / self.checkpoint.config.downsample_ratio)

    def image_input(self) -> ImageInput:
        return ImageInput.of(self.checkpoint, 'stretch', self.joins)

    def project(self, half: nn.Module, merged: MergedTokens) -> Tensor:
        model, config = half.model, self.checkpoint.config
        side = math.isqrt(merged.tokens.shape[1])
        grid = model.vision_tower.layernorm(merged.tokens).unflatten(1, (side, side))
        shuffled = model.pixel_shuffle(grid, scale_factor=config.downsample_ratio)
        return model.multi_modal_projector(shuffled.flatten(1, 2))

    def tiles(self) -> Canvas:
        processor = own_processor(self.checkpoint, GotOcr2ImageProcessorPil, crop_to_patches=True)
        with self.checkpoint.loading_errors():
            # Of an image 3 pixels wide its processor wonders where the channels are, in a warning.
            return tried(Canvas(processor, self.image_input().side), [(8, 8, 3)])

    def write(self, text: str) -> str:
        return text.replace('<IMG_CONTEXT>', '<img><IMG_CONTEXT></img>')
