"""transformers' own models asked in the ordinary way: what every family is held against.

The inputs are spelt out here as transformers' processors make them, which need torchvision.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText, DynamicCache, PreTrainedModel

from tosa_ros.frames import Frame
from tosa_ros.spatial import PatchGrid
from tosa_ros.vlm import Answerer, VisionEncoder, VisualTokens


def whole(path: Path) -> PreTrainedModel:
    """The model in float32, which makes no tiles beside the base image."""
    model = AutoModelForImageTextToText.from_pretrained(path, dtype=torch.float32).eval()
    if hasattr(model.config, 'image_grid_pinpoints'):
        model.config.image_grid_pinpoints = [[0, 0]]
    return model


def inputs_of(
    encoder: VisionEncoder, answerer: Answerer, frames: Sequence[Frame], question: str
) -> dict[str, Tensor]:
    """Keyword arguments of the whole model's forward and generate."""
    config = answerer.family.checkpoint.config
    kind = config.model_type
    if config.vision_config.model_type == 'pixtral':
        kind = 'pixtral'
    pixels = [encoder.image_input.pixels(frame.rgb) for frame in frames]
    grids = [encoder.image_input.grid(frame.width, frame.height) for frame in frames]
    image = answerer.prompt.image_token_id
    rows: list[int] = []
    seen = iter(grids)
    for i in answerer.prompt.ids(question, len(frames)):
        rows += [i] if i != image else _placeholders(kind, answerer, next(seen), image)
    ids = torch.tensor([rows])
    return {
        'input_ids': ids,
        'attention_mask': torch.ones_like(ids),
        **_images(kind, pixels, grids, frames, (ids == image).long()),
    }


@torch.inference_mode()
def logits(answerer: Answerer, tokens: Sequence[VisualTokens], question: str) -> Tensor:
    """Logits (V,) behind the prompt, as the answerer reads it."""
    rows = answerer.builder.rows(tokens, question)
    return answerer.family.read(
        answerer.model,
        rows.positions[None],
        rows.images[None],
        inputs_embeds=rows.embeds[None],
        attention_mask=None,
        past_key_values=DynamicCache(config=answerer.model.config),
    )[0, -1]


def _placeholders(kind: str, answerer: Answerer, grid: PatchGrid, image: int) -> list[int]:
    if kind == 'pixtral':
        code = answerer.prompt.tokenizer.convert_tokens_to_ids
        lines = [[image] * grid.cols + [code('[IMG_BREAK]')] for _ in range(grid.rows)]
        lines[-1][-1] = code('[IMG_END]')
        return [i for line in lines for i in line]
    return [image] * (grid.patches + kind.startswith(('llava_next', 'llava_onevision')))


def _images(
    kind: str,
    pixels: Sequence[Tensor],
    grids: Sequence[PatchGrid],
    frames: Sequence[Frame],
    images: Tensor,
) -> dict[str, Any]:
    if kind.startswith('qwen'):
        thw = torch.tensor([[1, 2 * grid.rows, 2 * grid.cols] for grid in grids])
        inputs = {'pixel_values': torch.cat(list(pixels)), 'image_grid_thw': thw}
        return inputs | {'mm_token_type_ids': images}
    stacked = torch.stack(list(pixels))
    if kind in ('idefics3', 'smolvlm'):
        return {'pixel_values': stacked[None]}
    inputs = {'pixel_values': stacked}
    if kind == 'gemma3':
        inputs['token_type_ids'] = images
    if kind == 'paligemma':
        inputs['token_type_ids'] = torch.zeros_like(images)
    if kind == 'pixtral':
        inputs['image_sizes'] = torch.tensor([list(p.shape[-2:]) for p in pixels])
    if kind.startswith(('llava_next', 'llava_onevision')):
        inputs['pixel_values'] = stacked[:, None]
        inputs['image_sizes'] = torch.tensor([[f.height, f.width] for f in frames])
    if kind == 'llava_onevision':
        inputs['batch_num_images'] = torch.tensor([len(frames)])
    return inputs
