"""Gemma 3: one stretched tile, pooled to 256 tokens that look at each other both ways.

Its tower may merge too: tokens are spread over their patches again before they are pooled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

from tosa_ros.vlm.families.cropping import PanAndScan
from tosa_ros.vlm.families.whole import WholeModel
from tosa_ros.vlm.image_input import ImageInput, own_processor, tried
from tosa_ros.vlm.tokens import VisualTokens

IMAGE = '\n\n<start_of_image><image_soft_token><end_of_image>\n\n'
# Where the checkpoint leaves them open, as those that there are do: Gemma3Processor's.
PAN_AND_SCAN = {
    'pan_and_scan_min_crop_size': 256,
    'pan_and_scan_max_num_crops': 4,
    'pan_and_scan_min_ratio_to_activate': 1.2,
}


class Gemma3(WholeModel):
    """Gemma 3 of 4B and more, which see."""

    title = 'Gemma 3'
    template = (
        "{{ bos_token }}{% set told = namespace(first='') %}{% for m in messages %}"
        "{% if m['role'] == 'system' %}{% set told.first = m['content'][0]['text'] + '\n\n' %}"
        "{% else %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
        "{{ told.first }}{% set told.first = '' %}"
        "{% for c in m['content'] %}{% if c['type'] == 'image' %}<start_of_image>"
        "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<end_of_turn>\n{% endif %}{% endfor %}"
        '{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}'
    )

    roads = ('output', 'tower')

    @property
    def joins(self) -> int:
        config = self.checkpoint.config
        patches = config.vision_config.image_size // config.vision_config.patch_size
        return patches // int(config.mm_tokens_per_image**0.5)

    def image_input(self) -> ImageInput:
        return ImageInput.of(self.checkpoint, 'stretch', self.joins)

    def tiles(self) -> PanAndScan:
        processor = own_processor(self.checkpoint, Gemma3ImageProcessorPil, do_pan_and_scan=True)
        for name, value in PAN_AND_SCAN.items():
            if getattr(processor, name, None) is None:
                setattr(processor, name, value)
        with self.checkpoint.loading_errors():
            return tried(PanAndScan(processor, self.image_input().side))

    def write(self, text: str) -> str:
        return text.replace('<start_of_image>', IMAGE)

    def parts(self, image: VisualTokens) -> list[VisualTokens]:
        return image.parts()

    def write_tiles(self, text: str, images: Sequence[VisualTokens]) -> str:
        pieces = text.split('<start_of_image>')
        written = [_with_crops(len(image.grids) - 1) for image in images]
        return ''.join(a + b for a, b in zip(pieces, [*written, ''], strict=True))

    def read(
        self, model: PreTrainedModel, positions: Tensor, images: Tensor, **inputs: Any
    ) -> Tensor:
        if 'inputs_embeds' in inputs:
            inputs['token_type_ids'] = images
        return super().read(model, positions, images, **inputs)


def _with_crops(crops: int) -> str:
    if not crops:
        return IMAGE
    words = f'Here is the original image {IMAGE} and here are some crops to help you see better '
    return words + ' '.join([IMAGE] * crops)
