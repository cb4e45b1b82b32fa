"""Idefics3 by its whole image, stretched to one tile, or by tiles; patches are shuffled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

from tosa_ros.spatial import PatchGrid
from tosa_ros.vision import MergedTokens
from tosa_ros.vlm.families.cropping import Split
from tosa_ros.vlm.families.whole import WholeModel
from tosa_ros.vlm.image_input import checked_pixels, own_processor, preprocessed, tried
from tosa_ros.vlm.tokens import VisualTokens


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
    roads = ('output', 'tower')
    sees = ('model.vision_model', 'model.connector')
    speaks = ('model.text_model', 'lm_head')
    processor: ClassVar[type[Idefics3ImageProcessorPil]] = Idefics3ImageProcessorPil

    @property
    def joins(self) -> int:
        return self.checkpoint.config.scale_factor

    def tower(self, half: nn.Module) -> nn.Module:
        return half.model.vision_model

    def project(self, half: nn.Module, merged: MergedTokens) -> Tensor:
        return half.model.connector(half.model.vision_model.post_layernorm(merged.tokens))

    def image_input(self) -> WholeImage:
        return self._input(WholeImage, do_image_splitting=False)

    def tiles(self) -> Split:
        return self._input(Split, do_image_splitting=True)

    def _input(self, kind: type, **changes: bool) -> Any:
        processor = own_processor(self.checkpoint, self.processor, **changes)
        config = self.checkpoint.config
        for name in ('size', 'max_image_size'):
            checked_pixels(getattr(processor, name)['longest_edge'], f'{name}.longest_edge')
        patches = processor.max_image_size['longest_edge'] // config.vision_config.patch_size
        with self.checkpoint.loading_errors():
            return tried(kind(processor, patches // config.scale_factor))

    def write(self, text: str) -> str:
        return text.replace('<image>', _written(0, 0))

    def parts(self, image: VisualTokens) -> list[VisualTokens]:
        return image.parts()

    def write_tiles(self, text: str, images: Sequence[VisualTokens]) -> str:
        pieces = text.split('<image>')
        written = [
            _written(len(image.grids) // image.across, image.across)
            if len(image.grids) > 1
            else _written(0, 0)
            for image in images
        ]
        return ''.join(a + b for a, b in zip(pieces, [*written, ''], strict=True))

    def features(self, half: PreTrainedModel, pixels: Tensor) -> Tensor:
        return torch.stack(half.model.get_image_features(pixels[:, None]).pooler_output)


def _written(rows: int, columns: int) -> str:
    """An image of rows x columns tiles and the whole, or of none and the whole."""
    return get_image_prompt_string(
        rows, columns, 1, '<fake_token_around_image>', '<image>', '<global-img>'
    )
