"""LLaVA-1.5: a tower, a projector, and the image's patches in the prompt as they are."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedModel
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from tosa_ros.errors import ModelError
from tosa_ros.vision import MergedTokens, adapter_for
from tosa_ros.vlm.families.base import Family
from tosa_ros.vlm.image_input import Fit, ImageInput

# Checkpoints saved by transformers 5 and by 4 lay the same tensors out differently.
LANGUAGE_KEYS = {
    r'^model\.language_model\.': 'model.',
    r'^language_model\.model\.': 'model.',
    r'^language_model\.lm_head\.': 'lm_head.',
}
VISION_KEYS = {
    r'^model\.vision_tower\.': 'vision_tower.',
    r'^model\.multi_modal_projector\.': 'multi_modal_projector.',
}


class VisionHalf(PreTrainedModel):
    """vision_tower and multi_modal_projector, named as in the whole model."""

    _supports_sdpa = True
    _keys_to_ignore_on_load_unexpected = (r'.*',)

    def __init__(self, config: Any, projector: type[nn.Module]) -> None:
        super().__init__(config)
        self.vision_tower = AutoModel.from_config(config.vision_config, trust_remote_code=False)
        self.multi_modal_projector = projector(config)
        self.post_init()

    def get_input_embeddings(self) -> None:
        """It reads no words."""


class Llava(Family):
    """LLaVA-1.5, and the base of its successors.

    projector: transformers' class of it. fit: how an image becomes the tower's square.
    """

    title = 'LLaVA-1.5'
    template = (
        "{% for m in messages %}{% if m['role'] != 'system' %}{{ m['role'] | upper }}: {% endif %}"
        "{% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}<image>\n{% else %}{{ c['text'] }}{% endif %}"
        '{% endfor %} {% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}'
    )
    projector: ClassVar[type[nn.Module]] = LlavaMultiModalProjector
    fit: ClassVar[Fit] = 'processor'

    @property
    def vision_layers(self) -> int:
        """Layers of the tower up to the features that the language model reads."""
        config = self.checkpoint.config
        layer = config.vision_feature_layer
        if not isinstance(layer, int):
            raise ModelError(
                f'{self.checkpoint.path}: vision_feature_layer is {layer}; features of several '
                'layers cannot be combined when tokens merge; wanted a single layer'
            )
        total = config.vision_config.num_hidden_layers
        return layer if layer >= 0 else total + 1 + layer

    def load_vision(self, device: str, dtype: torch.dtype | None) -> VisionHalf:
        config = self.checkpoint.config
        config = type(config)(**config.to_dict())
        config.vision_config.num_hidden_layers = self.vision_layers
        if hasattr(config.vision_config, 'vision_use_head'):
            config.vision_config.vision_use_head = False
        half = self.checkpoint.load(
            VisionHalf, config, VISION_KEYS, device, dtype, projector=self.projector
        )
        whole = config.vision_feature_select_strategy == 'full'
        if whole and adapter_for(half.vision_tower).protected:
            raise ModelError(
                f"{self.checkpoint.path}: vision_feature_select_strategy 'full' keeps the tower's "
                "class token among the patches, which cannot be merged; wanted 'default'"
            )
        return half

    def load_language(self, device: str, dtype: torch.dtype | None) -> PreTrainedModel:
        """The language model with its head, of its own class (Qwen2ForCausalLM, ...)."""
        config = self.checkpoint.config.get_text_config()
        config.tie_word_embeddings = self.checkpoint.config.tie_word_embeddings
        return self.checkpoint.load(AutoModelForCausalLM, config, LANGUAGE_KEYS, device, dtype)

    def image_input(self) -> ImageInput:
        return ImageInput.of(self.checkpoint, self.fit)

    def tower(self, half: nn.Module) -> nn.Module:
        return half.vision_tower

    def project(self, half: nn.Module, merged: MergedTokens) -> Tensor:
        return half.multi_modal_projector(merged.tokens)
