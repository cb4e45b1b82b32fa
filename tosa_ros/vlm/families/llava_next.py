"""LLaVA-NeXT by its base image, one stretched tile and a newline behind its patches, or by tiles.

One tile is what transformers itself takes when a OneVision prompt holds several images.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)
from transformers.models.llava_next.modeling_llava_next import LlavaNextMultiModalProjector

from tosa_ros.vlm.families.anyres import AnyRes
from tosa_ros.vlm.families.base import Position
from tosa_ros.vlm.families.llava import Llava
from tosa_ros.vlm.tokens import VisualTokens


class LlavaNext(Llava):
    """LLaVA-NeXT (1.6): the learnt `image_newline` embedding follows each image's tokens.

    Of an image in tiles it follows each row of the finer image instead, as long as tokens are
    left whose middle patch is in that row.
    processor: transformers' class of what makes the tiles.
    """

    title = 'LLaVA-NeXT'
    projector = LlavaNextMultiModalProjector
    fit = 'stretch'
    processor: ClassVar[type] = LlavaNextImageProcessorPil

    def tiles(self) -> AnyRes:
        return AnyRes(self.checkpoint, self.processor)

    def load_language(self, device: str, dtype: torch.dtype | None) -> PreTrainedModel:
        self.newline = self.checkpoint.tensor('model.image_newline', 'image_newline')
        return super().load_language(device, dtype)

    def place(self, words: Tensor, tokenizer: PreTrainedTokenizerBase) -> None:
        self.newline = self.newline.to(words.device, words.dtype)

    def rows(self, image: VisualTokens) -> list[Tensor]:
        newline = self.newline[None]
        if len(image.grids) == 1:
            return [image.embeddings, newline]
        base, fine = image.parts()
        pieces = [base.embeddings]
        for tokens in fine.lines().values():
            pieces += [fine.embeddings[[token for _, token in tokens]], newline]
        return pieces

    def token_rows(self, image: VisualTokens) -> list[int]:
        if len(image.grids) == 1:
            return super().token_rows(image)
        base, fine = image.parts()
        rows, next_row = [*range(len(image))], len(base)
        for tokens in fine.lines().values():
            for number, (_, token) in enumerate(tokens, next_row):
                rows[len(base) + token] = number
            next_row += len(tokens) + 1
        return rows

    def positions(self, image: VisualTokens, start: int) -> tuple[list[Position], int]:
        if len(image.grids) == 1:
            positions, end = super().positions(image, start)
            return [*positions, self.at(end)], end + 1
        base, fine = image.parts()
        positions, start = super().positions(base, start)
        rows, columns = fine.grids[0]
        for row, tokens in fine.lines().items():
            first = start + row * (columns + 1)
            places = [*(column for column, _ in tokens), columns]
            positions += [self.at(first + place) for place in places]
        return positions, start + rows * (columns + 1)
