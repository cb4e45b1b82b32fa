"""From a training's state to a checkpoint directory that transformers loads by itself."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tosa_ros.errors import ModelError
from tosa_ros.files import whole_folder
from tosa_ros.tensor_names import use_published_names

if TYPE_CHECKING:
    from transformers import LlavaOnevisionForConditionalGeneration, PreTrainedTokenizerFast


@contextmanager
def exported_folder(target: Path) -> Iterator[Path]:
    """A new folder that takes the place of the checkpoint `target` once it is filled.

    Raises:
        ModelError: the target holds something else, or cannot be written.
    """
    target = Path(target)
    if target.exists() and not (target / 'config.json').exists() and any(target.iterdir()):
        raise ModelError(f'export to {target}: it holds other files; name a new folder')
    with whole_folder(target, ModelError, over=True) as folder:
        folder.mkdir()
        yield folder
        for file in folder.iterdir():  # weights are written for their owner's eyes only
            file.chmod(0o644)


def export_vlm(
    model: LlavaOnevisionForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    target: Path,
    dtype: torch.dtype = torch.bfloat16,
) -> Path:
    """Writes config, weights, tokenizer with chat template, processor and generation settings."""
    from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
        LlavaOnevisionImageProcessorPil,
    )

    vision = model.config.vision_config
    side = vision.image_size
    processor = LlavaOnevisionImageProcessorPil(
        do_resize=True,
        size={'height': side, 'width': side},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        image_grid_pinpoints=model.config.image_grid_pinpoints,
    )
    plain = copy.deepcopy(model).to('cpu', dtype)
    plain.set_attn_implementation('sdpa')
    with exported_folder(target) as folder:
        plain.save_pretrained(folder)
        use_published_names(folder)
        tokenizer.save_pretrained(folder)
        processor.save_pretrained(folder)
        path = folder / 'preprocessor_config.json'
        settings = json.loads(path.read_text())
        settings['image_processor_type'] = 'LlavaOnevisionImageProcessor'
        settings['processor_class'] = 'LlavaOnevisionProcessor'
        path.write_text(json.dumps(settings, indent=2) + '\n')
        (folder / 'processor_config.json').write_text(
            json.dumps(
                {
                    'image_token': '<image>',
                    'num_image_tokens': (side // vision.patch_size) ** 2,
                    'processor_class': 'LlavaOnevisionProcessor',
                    'video_token': '<video>',
                    'vision_aspect_ratio': 'anyres_max_9',
                    'vision_feature_select_strategy': 'full',
                },
                indent=2,
            )
            + '\n'
        )
    return Path(target)
