"""A small LLaVA: a pretrained DINOv2 tower, a projector and a language model made from nothing.

transformers' own classes and nothing else, so the exported folder is a checkpoint as any other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import (
    AttentionInterface,
    Dinov2Config,
    Dinov2Model,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2Config,
)
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from benchmarks.real.vocabulary import END, IMAGE, PAD, USER
from tosa_ros.errors import ModelError
from tosa_ros.training.export import exported_folder
from tosa_ros.training.packing import PACKED, packed_attention
from tosa_ros.vlm.image_input import ImageInput

IMAGE_MEAN, IMAGE_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
BICUBIC = 3


@dataclass(frozen=True)
class Shape:
    """side: of the tower's input, pixels. The others are the language model's."""

    side: int = 280
    width: int = 256
    layers: int = 6
    heads: int = 4
    mlp: int = 768


def load_tower(path_or_id: str, side: int) -> Dinov2Model:
    """A DINOv2 in float32 whose position embeddings are those of side x side pixels."""
    try:
        tower = Dinov2Model.from_pretrained(path_or_id, dtype=torch.float32).eval()
    except (OSError, ValueError) as error:
        raise ModelError(f'tower {path_or_id!r} cannot be loaded: {error}') from error
    patch = tower.config.patch_size
    if side % patch:
        raise ModelError(f"side: {side}; wanted a multiple of the tower's patch, {patch}")
    embeddings = tower.embeddings
    with torch.no_grad():
        tokens = torch.zeros(1, 1 + (side // patch) ** 2, tower.config.hidden_size)
        places = embeddings.interpolate_pos_encoding(tokens, side, side)
        embeddings.position_embeddings = nn.Parameter(places.clone())
    tower.config.image_size = side
    return tower


def image_input(tower: Dinov2Model) -> ImageInput:
    """Pixels as the exported checkpoint's processor makes them."""
    settings = {'image_mean': IMAGE_MEAN, 'image_std': IMAGE_STD, 'resample': BICUBIC}
    return ImageInput(settings, 'stretch', tower.config.image_size, tower.config.patch_size)


def build(
    tower: Dinov2Config, shape: Shape, tokenizer: PreTrainedTokenizerFast
) -> LlavaForConditionalGeneration:
    """A new model with random weights (seed torch first), its tower too; float32."""

    def token(text: str) -> int:
        return tokenizer.convert_tokens_to_ids(text)

    text = Qwen2Config(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=shape.width,
        intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=token(END),
        pad_token_id=token(PAD),
    )
    config = LlavaConfig(
        vision_config=tower,
        text_config=text,
        image_token_index=token(IMAGE),
        image_seq_length=(tower.image_size // tower.patch_size) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy='default',
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    settings = model.generation_config
    settings.eos_token_id, settings.pad_token_id = token(END), token(PAD)
    settings.bos_token_id, settings.max_new_tokens = None, 16
    return model


def standardise(projector: nn.Module, mean: Tensor, std: Tensor) -> None:
    """Folds (x - mean) / std into a projector's first layer: towers have channels of any scale."""
    layer = projector.linear_1
    with torch.no_grad():
        layer.weight /= std
        layer.bias -= layer.weight @ mean


def use_packed_attention(model: LlavaForConditionalGeneration) -> None:
    AttentionInterface.register(PACKED, packed_attention)
    AttentionMaskInterface.register(PACKED, sdpa_mask)
    model.model.language_model.set_attn_implementation(PACKED)


def opening(tokenizer: PreTrainedTokenizerFast) -> int:
    """The token before the image."""
    return tokenizer.convert_tokens_to_ids(USER)


def with_tower(
    model: LlavaForConditionalGeneration, tower: Dinov2Model
) -> LlavaForConditionalGeneration:
    """A copy of the model, as transformers makes it, with this tower in it."""
    config = model.config
    whole = LlavaForConditionalGeneration(type(config)(**config.to_dict()))
    whole.generation_config = model.generation_config
    whole.load_state_dict(model.state_dict())
    whole.model.vision_tower.load_state_dict(tower.state_dict())
    return whole


def export(
    model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, target: Path
) -> Path:
    """Writes a checkpoint folder in the model's own dtype."""
    vision = model.config.vision_config
    side = vision.image_size
    processor = LlavaImageProcessorPil(
        do_resize=True,
        size={'height': side, 'width': side},
        do_center_crop=False,
        do_pad=False,
        resample=BICUBIC,
        image_mean=IMAGE_MEAN,
        image_std=IMAGE_STD,
    )
    with exported_folder(target) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        processor.save_pretrained(folder)
        path = folder / 'preprocessor_config.json'
        settings = json.loads(path.read_text())
        settings['image_processor_type'] = 'LlavaImageProcessor'
        settings['processor_class'] = 'LlavaProcessor'
        path.write_text(json.dumps(settings, indent=2) + '\n')
        (folder / 'processor_config.json').write_text(
            json.dumps(
                {
                    'image_token': IMAGE,
                    'patch_size': vision.patch_size,
                    'processor_class': 'LlavaProcessor',
                    'num_additional_image_tokens': 1,
                    'vision_feature_select_strategy': 'default',
                },
                indent=2,
            )
            + '\n'
        )
    return Path(target)
