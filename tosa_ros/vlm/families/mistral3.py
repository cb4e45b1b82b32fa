"""Mistral 3 (Pixtral's tower): images of any size, a break behind each row of tokens."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.pixtral.image_processing_pil_pixtral import PixtralImageProcessorPil

from tosa_ros.spatial import PatchGrid
from tosa_ros.vlm.families.base import Position
from tosa_ros.vlm.families.whole import WholeModel
from tosa_ros.vlm.image_input import checked_pixels, own_processor, preprocessed, tried
from tosa_ros.vlm.tokens import VisualTokens


class WholeTokens:
    """Preprocessing that keeps an image's shape: scaled to whole tokens of `side` pixels."""

    def __init__(self, processor: PixtralImageProcessorPil, side: int) -> None:
        self._processor = processor
        self._side = side
        self._longest = checked_pixels(processor.size['longest_edge'], 'size.longest_edge')

    def pixels(self, rgb: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 -> (3, H', W') float32."""
        return preprocessed(self._processor, rgb)['pixel_values'][0].float()

    def grid(self, width: int, height: int) -> PatchGrid:
        """The model's tokens over a width x height image."""
        ratio = max(width / self._longest, height / self._longest, 1)
        rows, cols = (-(-int(length / ratio) // self._side) for length in (height, width))
        return PatchGrid.over(rows, cols, width, height)


class Mistral3(WholeModel):
    """Mistral Small 3.1 and later. Where tokens have merged, rows without any have no break."""

    title = 'Mistral 3'
    template = (
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'assistant' %}"
        "{{ m['content'][0]['text'] }}{{ eos_token }}{% elif m['role'] == 'system' %}"
        "[SYSTEM_PROMPT]{{ m['content'][0]['text'] }}[/SYSTEM_PROMPT]{% else %}"
        "[INST]{% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}[IMG]{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
        '[/INST]{% endif %}{% endfor %}'
    )

    def image_input(self) -> WholeTokens:
        config = self.checkpoint.config
        joined = getattr(config, 'spatial_merge_size', 1)
        side = config.vision_config.patch_size * joined
        processor = own_processor(self.checkpoint, PixtralImageProcessorPil, patch_size=side)
        with self.checkpoint.loading_errors():
            return tried(WholeTokens(processor, side))

    def features(self, half: PreTrainedModel, pixels: Tensor) -> Tensor:
        sizes = torch.tensor([pixels.shape[-2:]] * len(pixels))
        return torch.stack(half.model.get_image_features(pixels, image_sizes=sizes).pooler_output)

    def place(self, words: Tensor, tokenizer: PreTrainedTokenizerBase) -> None:
        ids = tokenizer.convert_tokens_to_ids(['[IMG_BREAK]', '[IMG_END]'])
        self.line_break, self.end = words[ids].detach().split(1)

    def rows(self, image: VisualTokens) -> list[Tensor]:
        lines = image.lines()
        pieces = []
        for row, tokens in lines.items():
            pieces.append(image.embeddings[[token for _, token in tokens]])
            if (row + 1) * image.columns < image.before:
                pieces.append(self.line_break)
        return [*pieces, self.end]

    def token_rows(self, image: VisualTokens) -> list[int]:
        rows, next_row = [0] * len(image), 0
        for line, tokens in image.lines().items():
            for number, (_, token) in enumerate(tokens, next_row):
                rows[token] = number
            next_row += len(tokens) + ((line + 1) * image.columns < image.before)
        return rows

    def positions(self, image: VisualTokens, start: int) -> tuple[list[Position], int]:
        width = image.columns + 1
        places = []
        for row, tokens in image.lines().items():
            places += [start + row * width + column for column, _ in tokens]
            if (row + 1) * image.columns < image.before:
                places.append(start + row * width + image.columns)
        after = start + image.before // image.columns * width
        return [self.at(place) for place in [*places, after - 1]], after
