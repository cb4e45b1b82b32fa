"""Checkpoints of the real architectures with random weights, for demos, benchmarks and tests.

They are complete folders (weights, tokenizer, image processor, chat template), so that the same
loading code serves them. Their words mean nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    GenerationConfig,
    PreTrainedTokenizerFast,
)

from tosa_ros.devices import checked_device
from tosa_ros.errors import ModelError
from tosa_ros.files import whole_folder
from tosa_ros.merging import NoMerging
from tosa_ros.tensor_names import use_published_names
from tosa_ros.vision import MergedTokens
from tosa_ros.vlm.families.base import Family
from tosa_ros.vlm.image_input import ImageInput
from tosa_ros.vlm.untrained_families import LARGE_TEXT, RECIPES, TEXT, made_of
from tosa_ros.vlm.vision_encoder import VisionEncoder

SPECIAL = ('<|endoftext|>', '<|im_start|>', '<|im_end|>', '<image>', '<video>')


@dataclass(frozen=True)
class Size:
    """Dimensions of a checkpoint to make."""

    vision: dict[str, Any]
    text: dict[str, Any]
    vocabulary: int


SIZES = {
    'tiny': Size(
        {
            'hidden_size': 32,
            'intermediate_size': 64,
            'num_hidden_layers': 4,
            'num_attention_heads': 2,
            'image_size': 48,
            'patch_size': 8,
        },
        {
            'hidden_size': 32,
            'intermediate_size': 64,
            'num_hidden_layers': 2,
            'num_attention_heads': 4,
            'num_key_value_heads': 2,
            'max_position_embeddings': 4096,
            # Wide enough that answers depend on the picture and the question.
            'initializer_range': 0.3,
        },
        1024,
    ),
    # SigLIP so400m/14 at 384 (26 of its 27 layers) and Qwen2-0.5B, as LLaVA-OneVision-0.5B.
    '0.5b': Size(
        {
            'hidden_size': 1152,
            'intermediate_size': 4304,
            'num_hidden_layers': 26,
            'num_attention_heads': 16,
            'image_size': 384,
            'patch_size': 14,
        },
        {
            'hidden_size': 896,
            'intermediate_size': 4864,
            'num_hidden_layers': 24,
            'num_attention_heads': 14,
            'num_key_value_heads': 2,
            'max_position_embeddings': 32768,
        },
        151936,
    ),
}


@dataclass(frozen=True)
class Layout:
    """What a family's checkpoints are made of.

    class_token: whether the tower has one. crops, tiles, videos: what the checkpoint's own
    processor does with images beside scaling them.
    """

    tower: str
    language: str
    processor: str
    class_token: bool = True
    crops: bool = True
    tiles: bool = True
    videos: bool = False


LAYOUTS = {
    'llava': Layout('clip_vision_model', 'llama', 'CLIPImageProcessor', tiles=False),
    'llava_next': Layout('clip_vision_model', 'llama', 'LlavaNextImageProcessor'),
    'llava_next_video': Layout(
        'clip_vision_model', 'llama', 'LlavaNextImageProcessor', videos=True
    ),
    'llava_onevision': Layout(
        'siglip_vision_model',
        'qwen2',
        'LlavaOnevisionImageProcessor',
        class_token=False,
        crops=False,
        videos=True,
    ),
}


def write_checkpoint(
    path: str | Path,
    *,
    family: str = 'llava_onevision',
    size: str = 'tiny',
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Writes a checkpoint folder with random weights and returns its path.

    family: a key of LAYOUTS or RECIPES. size: 'tiny' or '0.5b' (up to 1.8 GB in bfloat16).
    The folder appears whole or not at all; one that exists is replaced.
    """
    if family not in {*LAYOUTS, *RECIPES} or size not in SIZES:
        raise ModelError(
            f'family {family!r}, size {size!r}; wanted one of {", ".join([*LAYOUTS, *RECIPES])} '
            f'and one of {", ".join(SIZES)}'
        )
    path = Path(path)
    if family in LAYOUTS:
        tokenizer = _tokenizer(SIZES[size].vocabulary)
        config = _config(family, SIZES[size], tokenizer)
        settings = _image_settings(family, config)
    else:
        tokenizer, config, settings = _by_recipe(family, size)
    model = _model(config, seed, dtype)
    with whole_folder(path, ModelError, over=True) as folder:
        model.save_pretrained(folder)
        use_published_names(folder)
        tokenizer.save_pretrained(folder)
        (folder / 'preprocessor_config.json').write_text(json.dumps(settings, indent=2))
    return path


def _by_recipe(family: str, size: str) -> tuple[PreTrainedTokenizerFast, Any, dict[str, Any]]:
    """Tokenizer, configuration, and what its image processor is told."""
    recipe = RECIPES[family]
    special = ('<|endoftext|>', *recipe.tokens)
    vocabulary = (TEXT if size == 'tiny' else LARGE_TEXT)['vocab_size']
    tokenizer = _tokenizer(vocabulary, special, recipe.eos, recipe.bos)
    settings, images = made_of(family, size, tokenizer.convert_tokens_to_ids)
    ends = {
        'bos_token_id': tokenizer.bos_token_id,
        'eos_token_id': tokenizer.eos_token_id,
        'pad_token_id': tokenizer.pad_token_id,
    }
    settings['text_config'] = {**settings['text_config'], **ends}
    kind = family.partition('-')[0]
    config = AutoConfig.for_model(kind, tie_word_embeddings=False, **settings)
    return tokenizer, config, images


def _config(family: str, size: Size, tokenizer: PreTrainedTokenizerFast) -> Any:
    layout = LAYOUTS[family]
    vision = {'model_type': layout.tower, **size.vision}
    text = {
        'model_type': layout.language,
        'vocab_size': size.vocabulary,
        'tie_word_embeddings': False,
        'bos_token_id': None,
        'eos_token_id': tokenizer.convert_tokens_to_ids('<|im_end|>'),
        'pad_token_id': tokenizer.convert_tokens_to_ids('<|endoftext|>'),
        **size.text,
    }
    side = size.vision['image_size']
    extra: dict[str, Any] = {}
    if layout.class_token:
        extra |= {'vision_feature_layer': -2, 'vision_feature_select_strategy': 'default'}
    else:
        vision['vision_use_head'] = False
        extra |= {'vision_feature_layer': -1, 'vision_feature_select_strategy': 'full'}
    if layout.tiles:
        extra['image_grid_pinpoints'] = [[side, 2 * side], [2 * side, side], [2 * side, 2 * side]]
    if layout.videos:
        extra['video_token_index'] = tokenizer.convert_tokens_to_ids('<video>')
    return AutoConfig.for_model(
        family,
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids('<image>'),
        tie_word_embeddings=False,
        **extra,
    )


def _model(config: Any, seed: int, dtype: torch.dtype) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(
            config, dtype=dtype, trust_remote_code=False
        )
        with torch.no_grad():
            for weight in model.parameters():
                if weight.dim() > 1 and not weight.any():  # Some projectors start from nothing.
                    weight.normal_(std=0.3)
    eos = config.text_config.eos_token_id
    model.generation_config = GenerationConfig(eos_token_id=eos, pad_token_id=eos)
    return model


def _image_settings(family: str, config: Any) -> dict[str, Any]:
    layout, side = LAYOUTS[family], config.vision_config.image_size
    square = {'height': side, 'width': side}
    settings: dict[str, Any] = {
        'image_processor_type': layout.processor,
        'do_resize': True,
        'size': {'shortest_edge': side} if layout.crops else square,
        'do_center_crop': layout.crops,
        'crop_size': square,
        'resample': 3,
        'image_mean': [0.5, 0.5, 0.5],
        'image_std': [0.5, 0.5, 0.5],
        'rescale_factor': 1 / 255,
    }
    if layout.tiles:
        settings['image_grid_pinpoints'] = config.image_grid_pinpoints
    return settings


def _tokenizer(
    vocabulary: int,
    special: Sequence[str] = SPECIAL,
    eos: str = '<|im_end|>',
    bos: str | None = None,
) -> PreTrainedTokenizerFast:
    """Bytes, special tokens, and made-up words up to the wanted size."""
    pieces = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = (_word(i) for i in range(vocabulary))
    pieces += [next(words) for _ in range(vocabulary - len(pieces) - len(special))]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    core = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=bos, eos_token=eos, pad_token='<|endoftext|>'
    )
    tokenizer.add_special_tokens({'additional_special_tokens': list(special)})
    return tokenizer


def _word(index: int) -> str:
    """A pronounceable word with a leading space, different for every index."""
    word = ''
    while True:
        index, syllable = divmod(index, 75)
        word += 'bdfgklmnprstvwz'[syllable // 5] + 'aeiou'[syllable % 5]
        if not index:
            return f'Ġ{word}'
        index -= 1


TOWERS: dict[str, tuple[str, dict[str, Any], tuple[float, ...], tuple[float, ...]]] = {
    'so400m': ('siglip_vision_model', SIZES['0.5b'].vision, (0.5,) * 3, (0.5,) * 3),
    'clip-l-336': (
        'clip_vision_model',
        {
            'hidden_size': 1024,
            'intermediate_size': 4096,
            'num_hidden_layers': 23,
            'num_attention_heads': 16,
            'image_size': 336,
            'patch_size': 14,
        },
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
    ),
}


class _TowerAlone(Family):
    """A tower where a model's vision half is expected: nothing projects its features."""

    def __init__(self, image_input: ImageInput) -> None:
        self._image_input = image_input

    def image_input(self) -> ImageInput:
        return self._image_input

    def tower(self, half: nn.Module) -> nn.Module:
        return half

    def project(self, half: nn.Module, merged: MergedTokens) -> Tensor:
        return merged.tokens


def random_vision_encoder(
    tower: str, *, device: str = 'cpu', dtype: torch.dtype | None = None, seed: int = 0
) -> VisionEncoder:
    """An encoder with a tower of a real architecture, random weights and no projector.

    tower: 'so400m' (SigLIP so400m/14 at 384, 729 patches) or 'clip-l-336' (CLIP L/14 at 336,
    576 patches); each without the layers that LLaVA does not read. Images are stretched.
    """
    if tower not in TOWERS:
        raise ModelError(f'tower: {tower!r}; wanted one of {", ".join(TOWERS)}')
    device = checked_device(device)
    kind, dims, mean, std = TOWERS[tower]
    extra = {'vision_use_head': False} if kind.startswith('siglip') else {}
    config = AutoConfig.for_model(kind, **dims, **extra)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModel.from_config(
            config, dtype=dtype or torch.float32, trust_remote_code=False
        )
    settings = {'image_mean': list(mean), 'image_std': list(std), 'resample': 3}
    image_input = ImageInput(settings, 'stretch', dims['image_size'], dims['patch_size'])
    return VisionEncoder(model.to(device).eval(), _TowerAlone(image_input), NoMerging())
