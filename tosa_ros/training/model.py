"""The embedded model's architecture: LLaVA-OneVision in miniature, as transformers defines it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tosa_ros.training.tokenizer import END, IMAGE, PAD, VIDEO

if TYPE_CHECKING:
    from transformers import LlavaOnevisionForConditionalGeneration, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Shape:
    """Sizes of the model. Widths in channels; image and patch in pixels."""

    image: int = 128
    patch: int = 8
    vision_width: int = 128
    vision_layers: int = 8
    vision_heads: int = 4
    vision_mlp: int = 384
    text_width: int = 128
    text_layers: int = 4
    text_heads: int = 4
    text_mlp: int = 320

    @property
    def grid(self) -> int:
        return self.image // self.patch


def build_model(
    shape: Shape, tokenizer: PreTrainedTokenizerFast, trained_frames: int = 1
) -> LlavaOnevisionForConditionalGeneration:
    """A new model with random weights (seed torch first), float32.

    trained_frames: how many a question will have at most; the config says it to whoever answers.
    """
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        Qwen2Config,
        SiglipVisionConfig,
    )

    def token(text: str) -> int:
        return tokenizer.convert_tokens_to_ids(text)

    vision = SiglipVisionConfig(
        image_size=shape.image,
        patch_size=shape.patch,
        hidden_size=shape.vision_width,
        intermediate_size=shape.vision_mlp,
        num_hidden_layers=shape.vision_layers,
        num_attention_heads=shape.vision_heads,
        vision_use_head=False,
    )
    text = Qwen2Config(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=shape.text_width,
        intermediate_size=shape.text_mlp,
        num_hidden_layers=shape.text_layers,
        num_attention_heads=shape.text_heads,
        num_key_value_heads=shape.text_heads,
        max_position_embeddings=16384,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=token(END),
        pad_token_id=token(PAD),
    )
    config = LlavaOnevisionConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=token(IMAGE),
        video_token_index=token(VIDEO),
        image_grid_pinpoints=[[shape.image, shape.image]],
        vision_feature_layer=-1,
        vision_feature_select_strategy='full',
        tie_word_embeddings=True,
        trained_frames=trained_frames,
    )
    model = LlavaOnevisionForConditionalGeneration(config)
    model.generation_config.eos_token_id = token(END)
    model.generation_config.pad_token_id = token(PAD)
    model.generation_config.bos_token_id = None
    model.generation_config.max_new_tokens = 16
    return model
