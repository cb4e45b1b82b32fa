"""LLaVA-NeXT by its base image: one stretched tile, and a newline behind its patches.

One tile is what transformers itself takes when a prompt holds several images.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.llava_next.modeling_llava_next import LlavaNextMultiModalProjector

from tosa_ros.vlm.families.base import Position
from tosa_ros.vlm.families.llava import Llava
from tosa_ros.vlm.tokens import VisualTokens


class LlavaNext(Llava):
    """LLaVA-NeXT (1.6): the learnt `image_newline` embedding follows each image's tokens."""

    title = 'LLaVA-NeXT'
    projector = LlavaNextMultiModalProjector
    fit = 'stretch'

    def load_language(self, device: str, dtype: torch.dtype | None) -> PreTrainedModel:
        self.newline = self.checkpoint.tensor('model.image_newline', 'image_newline')
        return super().load_language(device, dtype)

    def place(self, words: Tensor, tokenizer: PreTrainedTokenizerBase) -> None:
        self.newline = self.newline.to(words.device, words.dtype)

    def rows(self, image: VisualTokens) -> list[Tensor]:
        return [image.embeddings, self.newline[None]]

    def positions(self, image: VisualTokens, start: int) -> tuple[list[Position], int]:
        positions, end = super().positions(image, start)
        return [*positions, self.at(end)], end + 1
