"""What tiny checkpoints of the families beside LLaVA's are made of (see `untrained`).

Those of the size 0.5b, for timings, differ by `large`: towers and images as of models that there
are, and the widths of Qwen2-0.5B for every language model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Ids = Callable[[str], int]

TEXT = {
    'vocab_size': 1024,
    'hidden_size': 32,
    'intermediate_size': 64,
    'num_hidden_layers': 2,
    'num_attention_heads': 2,
    'num_key_value_heads': 1,
    'max_position_embeddings': 4096,
    # Wide enough that answers depend on the picture and the question.
    'initializer_range': 0.3,
    'tie_word_embeddings': False,
}
VISION = {
    'hidden_size': 32,
    'intermediate_size': 64,
    'num_hidden_layers': 2,
    'num_attention_heads': 2,
    'image_size': 48,
    'patch_size': 8,
    'initializer_range': 0.3,
}
PIXELS = {
    'do_resize': True,
    'size': {'height': 48, 'width': 48},
    'resample': 3,
    'image_mean': [0.5, 0.5, 0.5],
    'image_std': [0.5, 0.5, 0.5],
    'rescale_factor': 1 / 255,
}
LARGE_TEXT = {
    'vocab_size': 32768,
    'hidden_size': 896,
    'intermediate_size': 4864,
    'num_hidden_layers': 24,
    'num_attention_heads': 14,
    'num_key_value_heads': 2,
    'head_dim': 64,
    'max_position_embeddings': 32768,
    'initializer_range': 0.02,
}
# SigLIP so400m/14, InternViT-300M and Pixtral's tower at the widths of Mistral Small 3.1.
SO400M = {
    'hidden_size': 1152,
    'intermediate_size': 4304,
    'num_hidden_layers': 27,
    'num_attention_heads': 16,
    'patch_size': 14,
    'initializer_range': 0.02,
}
VIT_L = {
    'hidden_size': 1024,
    'intermediate_size': 4096,
    'num_hidden_layers': 24,
    'num_attention_heads': 16,
    'patch_size': 14,
    'initializer_range': 0.02,
}
CHAT = ('<|im_start|>', '<|im_end|>')


@dataclass(frozen=True)
class Recipe:
    """A tiny checkpoint of one family.

    config: the arguments of its configuration, by the ids of special tokens. images: what its
    preprocessor_config.json says. tokens: special tokens, of which eos ends an answer, and bos
    begins a prompt. large: what is otherwise in one of the size 0.5b, by config (`vision`, `text`,
    `more`) and `images`.
    """

    config: Callable[[Ids], dict[str, Any]]
    images: dict[str, Any]
    tokens: tuple[str, ...]
    large: dict[str, dict[str, Any]]
    eos: str = '<|im_end|>'
    bos: str | None = None


def _square(side: int) -> dict[str, Any]:
    return {'size': {'height': side, 'width': side}}


def _qwen(
    kind: str, vision: dict[str, Any], large: dict[str, Any], patch: int = 14, **rope: Any
) -> Recipe:
    rope = {'rope_type': 'default', 'rope_theta': 1e6, 'mrope_section': [4, 2, 2], **rope}
    text = {**TEXT, 'model_type': f'{kind}_text', 'rope_parameters': rope, 'head_dim': 16}
    tower = {
        'depth': 2,
        'num_heads': 2,
        'patch_size': 8,
        'spatial_merge_size': 2,
        'temporal_patch_size': 2,
        'initializer_range': 0.3,
    }
    return Recipe(
        lambda ids: {
            'vision_config': {**tower, **vision},
            'text_config': text,
            'image_token_id': ids('<|image_pad|>'),
            'video_token_id': ids('<|video_pad|>'),
            'vision_start_token_id': ids('<|vision_start|>'),
            'vision_end_token_id': ids('<|vision_end|>'),
        },
        {
            **PIXELS,
            'image_processor_type': 'Qwen2VLImageProcessor',
            'size': {'shortest_edge': 1024, 'longest_edge': 8192},
            'patch_size': 8,
            'merge_size': 2,
            'temporal_patch_size': 2,
        },
        (*CHAT, '<|vision_start|>', '<|image_pad|>', '<|video_pad|>', '<|vision_end|>'),
        {
            'vision': {
                'num_heads': 16,
                'depth': 27,
                'initializer_range': 0.02,
                'patch_size': patch,
                **large,
            },
            'text': {'rope_parameters': {**rope, 'mrope_section': [12, 10, 10]}},
            'images': {
                'patch_size': patch,
                'size': {'shortest_edge': 56**2, 'longest_edge': 1280 * 28**2},
            },
        },
    )


def _idefics3(processor: str, large: dict[str, Any]) -> Recipe:
    around = ('<fake_token_around_image>', '<global-img>', '<image>', '<end_of_utterance>')
    return Recipe(
        lambda ids: {
            'vision_config': VISION,
            'text_config': {**TEXT, 'model_type': 'llama'},
            'image_token_id': ids('<image>'),
            'scale_factor': 2,
        },
        {
            **PIXELS,
            'image_processor_type': processor,
            'size': {'longest_edge': 64},
            'max_image_size': {'longest_edge': 48},
        },
        ('<|im_start|>', *around),
        large,
        eos='<end_of_utterance>',
    )


def _pixtral(**more: Any) -> Recipe:
    return Recipe(
        lambda ids: {
            'vision_config': {**VISION, 'model_type': 'pixtral', 'image_size': 64, 'head_dim': 16},
            'text_config': {**TEXT, 'model_type': 'mistral', 'head_dim': 16},
            'image_token_index': ids('[IMG]'),
            **more,
        },
        {
            **PIXELS,
            'image_processor_type': 'PixtralImageProcessor',
            'size': {'longest_edge': 64},
            'patch_size': 8,
        },
        ('<s>', '</s>', '[INST]', '[/INST]', '[IMG]', '[IMG_BREAK]', '[IMG_END]'),
        {
            'vision': {**VIT_L, 'image_size': 1540, 'head_dim': 64},
            'images': {'size': {'longest_edge': 1540}, 'patch_size': 14},
        },
        eos='</s>',
        bos='<s>',
    )


RECIPES = {
    'qwen2_vl': _qwen(
        'qwen2_vl',
        {'embed_dim': 32, 'hidden_size': 32, 'mlp_ratio': 2, 'in_channels': 3},
        {'embed_dim': 1152, 'hidden_size': 896, 'mlp_ratio': 4},
    ),
    'qwen2_5_vl': _qwen(
        'qwen2_5_vl',
        {
            'hidden_size': 32,
            'intermediate_size': 64,
            'out_hidden_size': 32,
            'window_size': 32,
            'fullatt_block_indexes': [1],
        },
        {
            'hidden_size': 1152,
            'intermediate_size': 4304,
            'out_hidden_size': 896,
            'window_size': 112,
            'fullatt_block_indexes': [6, 13, 20, 26],
        },
    ),
    'qwen3_vl': _qwen(
        'qwen3_vl',
        {
            'hidden_size': 32,
            'intermediate_size': 64,
            'out_hidden_size': 32,
            'num_position_embeddings': 36,
            'deepstack_visual_indexes': [0, 1],
        },
        {
            'hidden_size': 1152,
            'intermediate_size': 4304,
            'out_hidden_size': 896,
            'num_position_embeddings': 2304,
            'deepstack_visual_indexes': [8, 16, 24],
        },
        16,
        mrope_interleaved=True,
    ),
    'internvl': Recipe(
        lambda ids: {
            'vision_config': {
                **VISION,
                'model_type': 'internvl_vision',
                'image_size': [48, 48],
                'patch_size': [8, 8],
            },
            'text_config': {**TEXT, 'model_type': 'qwen2'},
            'image_token_id': ids('<IMG_CONTEXT>'),
            'image_seq_length': 9,
        },
        {**PIXELS, 'image_processor_type': 'GotOcr2ImageProcessor', 'crop_to_patches': True},
        (*CHAT, '<img>', '<IMG_CONTEXT>', '</img>'),
        {
            'vision': {**VIT_L, 'image_size': [448, 448], 'patch_size': [14, 14]},
            'more': {'image_seq_length': 256},
            'images': _square(448),
        },
    ),
    'idefics3': _idefics3(
        'Idefics3ImageProcessor',
        {
            'vision': {**SO400M, 'image_size': 364},
            'images': {
                'size': {'longest_edge': 1456},
                'max_image_size': {'longest_edge': 364},
            },
        },
    ),
    'smolvlm': _idefics3(
        'SmolVLMImageProcessor',
        {
            'vision': {
                'hidden_size': 768,
                'intermediate_size': 3072,
                'num_hidden_layers': 12,
                'num_attention_heads': 12,
                'image_size': 512,
                'patch_size': 16,
                'initializer_range': 0.02,
            },
            'more': {'scale_factor': 4},
            'images': {
                'size': {'longest_edge': 2048},
                'max_image_size': {'longest_edge': 512},
            },
        },
    ),
    'paligemma': Recipe(
        lambda ids: {
            'vision_config': {
                **VISION,
                'model_type': 'siglip_vision_model',
                'vision_use_head': False,
            },
            'text_config': {
                **TEXT,
                'model_type': 'gemma2',
                'head_dim': 16,
                'query_pre_attn_scalar': 16,
            },
            'image_token_index': ids('<image>'),
            'projection_dim': 32,
            'hidden_size': 32,
        },
        {**PIXELS, 'image_processor_type': 'SiglipImageProcessor', 'image_seq_length': 36},
        ('<image>', '<bos>', '<eos>'),
        {
            'vision': {**SO400M, 'image_size': 448},
            'text': {'query_pre_attn_scalar': 64},
            'more': {'projection_dim': 896, 'hidden_size': 896},
            'images': {**_square(448), 'image_seq_length': 1024},
        },
        eos='<eos>',
        bos='<bos>',
    ),
    'gemma3': Recipe(
        lambda ids: {
            'vision_config': {
                **VISION,
                'model_type': 'siglip_vision_model',
                'vision_use_head': False,
                'image_size': 64,
            },
            'text_config': {
                **TEXT,
                'model_type': 'gemma3_text',
                'head_dim': 16,
                'query_pre_attn_scalar': 16,
                'sliding_window': 64,
                'layer_types': ['sliding_attention', 'full_attention'],
            },
            'mm_tokens_per_image': 16,
            'boi_token_index': ids('<start_of_image>'),
            'eoi_token_index': ids('<end_of_image>'),
            'image_token_index': ids('<image_soft_token>'),
        },
        {
            **PIXELS,
            'image_processor_type': 'Gemma3ImageProcessor',
            'size': {'height': 64, 'width': 64},
        },
        (
            '<bos>',
            '<start_of_turn>',
            '<end_of_turn>',
            '<start_of_image>',
            '<image_soft_token>',
            '<end_of_image>',
        ),
        {
            'vision': {**SO400M, 'image_size': 896},
            'text': {
                'query_pre_attn_scalar': 64,
                'sliding_window': 512,
                'layer_types': [*['sliding_attention'] * 5, 'full_attention'] * 4,
            },
            'more': {'mm_tokens_per_image': 256},
            'images': _square(896),
        },
        eos='<end_of_turn>',
        bos='<bos>',
    ),
    'llava-pixtral': _pixtral(vision_feature_select_strategy='full', vision_feature_layer=-1),
    'mistral3': _pixtral(spatial_merge_size=2),
}


def made_of(family: str, size: str, ids: Ids) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of a configuration, and what its preprocessor_config.json says."""
    recipe = RECIPES[family]
    config, images = recipe.config(ids), recipe.images
    if size == 'tiny':
        return config, images
    large = recipe.large
    config |= large.get('more', {})
    config['vision_config'] = {**config['vision_config'], **large['vision']}
    config['text_config'] = {**config['text_config'], **LARGE_TEXT, **large.get('text', {})}
    return config, {**images, **large['images']}
