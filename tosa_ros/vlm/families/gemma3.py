"""Gemma 3: one stretched tile, pooled to 256 tokens that look at each other both ways."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from tosa_ros.vlm.families.whole import WholeModel
from tosa_ros.vlm.image_input import ImageInput


class Gemma3(WholeModel):
    """Gemma 3 of 4B and more, which see."""

    title = 'Gemma 3'
    template = (
        "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m['role'] }}\n"
        "{% for c in m['content'] %}{% if c['type'] == 'image' %}<start_of_image>"
        "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<end_of_turn>\n{% endfor %}"
        '{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}'
    )

    def image_input(self) -> ImageInput:
        config = self.checkpoint.config
        patches = config.vision_config.image_size // config.vision_config.patch_size
        joined = patches // int(config.mm_tokens_per_image**0.5)
        return ImageInput.of(self.checkpoint, 'stretch', joined)

    def write(self, text: str) -> str:
        image = '\n\n<start_of_image><image_soft_token><end_of_image>\n\n'
        return text.replace('<start_of_image>', image)

    def read(
        self, model: PreTrainedModel, positions: Tensor, images: Tensor, **inputs: Any
    ) -> Tensor:
        if 'inputs_embeds' in inputs:
            inputs['token_type_ids'] = images
        return super().read(model, positions, images, **inputs)
