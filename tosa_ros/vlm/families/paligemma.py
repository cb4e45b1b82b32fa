"""PaliGemma and PaliGemma 2: SigLIP's patches as they are, and a prompt that is read both ways."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tosa_ros.vlm.families.base import Position
from tosa_ros.vlm.families.whole import WholeModel
from tosa_ros.vlm.image_input import ImageInput


class PaliGemma(WholeModel):
    """PaliGemma and PaliGemma 2.

    Every row of the prompt looks at every other, so nothing read holds for the next question.
    """

    title = 'PaliGemma'
    template = (
        "{% for m in messages %}{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>"
        "{% endif %}{% endfor %}{{ bos_token }}{% for c in m['content'] %}"
        "{% if c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}\n{% endfor %}"
    )
    roads = ('tower', 'output')
    talks = False
    causal = False

    def image_input(self) -> ImageInput:
        return ImageInput.of(self.checkpoint, 'stretch')

    def at(self, place: int) -> Position:
        """Its positions count from 1."""
        return place + 1

    def read(
        self, model: PreTrainedModel, positions: Tensor, images: Tensor, **inputs: Any
    ) -> Tensor:
        if 'inputs_embeds' in inputs:
            inputs['token_type_ids'] = torch.zeros_like(images)
        return super().read(model, positions, images, **inputs)
