"""What tiny checkpoints of the families beside LLaVA's are made of (see `untrained`)."""

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
CHAT = ('<|im_start|>', '<|im_end|>')


@dataclass(frozen=True)
class Recipe:
    """A tiny checkpoint of one family.

    config: the arguments of its configuration, by the ids of special tokens. images: what its
    preprocessor_config.json says. tokens: special tokens, of which eos ends an answer, and bos
    begins a prompt.
    """

    config: Callable[[Ids], dict[str, Any]]
    images: dict[str, Any]
    tokens: tuple[str, ...]
    eos: str = '<|im_end|>'
    bos: str | None = None


def _qwen(kind: str, vision: dict[str, Any], **rope: Any) -> Recipe:
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
    )


def _idefics3(processor: str) -> Recipe:
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
        eos='</s>',
        bos='<s>',
    )


RECIPES = {
    'qwen2_vl': _qwen(
        'qwen2_vl', {'embed_dim': 32, 'hidden_size': 32, 'mlp_ratio': 2, 'in_channels': 3}
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
    ),
    'idefics3': _idefics3('Idefics3ImageProcessor'),
    'smolvlm': _idefics3('SmolVLMImageProcessor'),
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
        eos='<end_of_turn>',
        bos='<bos>',
    ),
    'llava-pixtral': _pixtral(vision_feature_select_strategy='full', vision_feature_layer=-1),
    'mistral3': _pixtral(spatial_merge_size=2),
}
