"""Idefics3 by its whole image: stretched to one tile, whose patches are shuffled into fewer."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from tosa_ros.spatial import PatchGrid
from tosa_ros.vlm.families.whole import WholeModel
from tosa_ros.vlm.image_input import checked_pixels, own_processor, preprocessed, tried


class WholeImage:
    """Preprocessing without splitting: resized as for tiles, then stretched to one."""

    def __init__(self, processor: Idefics3ImageProcessorPil, side: int) -> None:
        self._processor = processor
        self.side = side

    def pixels(self, rgb: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 -> (3, S, S) float32."""
        return preprocessed(self._processor, rgb)['pixel_values'][0, 0].float()

    def grid(self, width: int, height: int) -> PatchGrid:
        """The model's tokens over a width x height image."""
        return PatchGrid.over(self.side, self.side, width, height)


class Idefics3(WholeModel):
    """Idefics3, and the base of SmolVLM."""

    title = 'Idefics3'
    template = (
        "<|im_start|>{% for m in messages %}{{ m['role'] | capitalize }}:"
        "{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>"
        "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
        '{% if add_generation_prompt %}Assistant:{% endif %}'
    )
    sees = ('model.vision_model', 'model.connector')
    speaks = ('model.text_model', 'lm_head')
    processor: ClassVar[type[Idefics3ImageProcessorPil]] = Idefics3ImageProcessorPil

    def image_input(self) -> WholeImage:
        processor = own_processor(self.checkpoint, self.processor, do_image_splitting=False)
        config = self.checkpoint.config
        for name in ('size', 'max_image_size'):
            checked_pixels(getattr(processor, name)['longest_edge'], f'{name}.longest_edge')
        patches = processor.max_image_size['longest_edge'] // config.vision_config.patch_size
        with self.checkpoint.loading_errors():
            return tried(WholeImage(processor, patches // config.scale_factor))

    def write(self, text: str) -> str:
        around = '<fake_token_around_image>'
        return text.replace('<image>', f'{around}<global-img><image>{around}')

    def features(self, half: PreTrainedModel, pixels: Tensor) -> Tensor:
        return torch.stack(half.model.get_image_features(pixels[:, None]).pooler_output)
