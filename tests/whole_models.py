"""transformers' own models asked in the ordinary way: what every family is held against.

The inputs are spelt out here as transformers' processors make them, which need torchvision.
"""

from __future__ import annotations

import torch
from transformers import AutoModelForImageTextToText


def whole(path):
    return AutoModelForImageTextToText.from_pretrained(path, dtype=torch.float32).eval()


def inputs_of(path, encoder, answerer, frames, question):
    """Keyword arguments of the whole model's forward and generate."""
    kind = answerer.family.checkpoint.config.model_type
    pixels = [encoder.image_input.pixels(frame.rgb) for frame in frames]
    grids = [encoder.image_input.grid(frame.width, frame.height) for frame in frames]
    image = answerer.prompt.image_token_id
    ids, seen = [], iter(grids)
    for i in answerer.prompt.ids(question, len(frames)):
        ids += [i] if i != image else rows_of(kind, answerer, next(seen), image)
    ids = torch.tensor([ids])
    return {
        'input_ids': ids,
        'attention_mask': torch.ones_like(ids),
        **more(kind, pixels, grids, frames, (ids == image).long()),
    }


def rows_of(kind, answerer, grid, image):
    if kind == 'mistral3':
        code = answerer.prompt.tokenizer.convert_tokens_to_ids
        lines = [[image] * grid.cols + [code('[IMG_BREAK]')] for _ in range(grid.rows)]
        lines[-1][-1] = code('[IMG_END]')
        return [i for line in lines for i in line]
    return [image] * (grid.patches + kind.startswith(('llava_next', 'llava_onevision')))


def more(kind, pixels, grids, frames, images):
    if kind.startswith('qwen'):
        thw = torch.tensor([[1, 2 * grid.rows, 2 * grid.cols] for grid in grids])
        inputs = {'pixel_values': torch.cat(pixels), 'image_grid_thw': thw}
        return inputs | {'mm_token_type_ids': images}
    if kind in ('idefics3', 'smolvlm'):
        return {'pixel_values': torch.stack(pixels)[None]}
    inputs = {'pixel_values': torch.stack(pixels)}
    if kind == 'gemma3':
        inputs['token_type_ids'] = images
    if kind == 'paligemma':
        inputs['token_type_ids'] = torch.zeros_like(images)
    if kind == 'mistral3':
        inputs['image_sizes'] = torch.tensor([list(p.shape[-2:]) for p in pixels])
    if kind.startswith(('llava_next', 'llava_onevision')):
        inputs['pixel_values'] = inputs['pixel_values'][:, None]
        inputs['image_sizes'] = torch.tensor([[f.height, f.width] for f in frames])
    if kind == 'llava_onevision':
        inputs['batch_num_images'] = torch.tensor([len(frames)])
    return inputs
