"""Checkpoints on disk or on the hub: configuration, and the weights of one half alone.

transformers does the reading (safetensors only, never remote code); this module names the half
that is wanted, so that tensors of the other one are never read.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedModel
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector
from transformers.models.llava_next.modeling_llava_next import LlavaNextMultiModalProjector
from transformers.models.llava_onevision.modeling_llava_onevision import (
    LlavaOnevisionMultiModalProjector,
)
from transformers.utils import cached_file

from tosa_ros.errors import ModelError
from tosa_ros.loading import is_missing_folder, one_line_errors, quiet_loading
from tosa_ros.vlm.families import Family, family_of

PROJECTORS = {
    'llava': LlavaMultiModalProjector,
    'llava_next': LlavaNextMultiModalProjector,
    'llava_onevision': LlavaOnevisionMultiModalProjector,
}
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


@dataclass(frozen=True)
class Checkpoint:
    """A LLaVA-style checkpoint: where it is, its configuration and its family."""

    path: str
    config: Any
    family: Family

    @classmethod
    def open(cls, path: str | Path) -> Checkpoint:
        """Reads the configuration alone. Raises ModelError for a folder or id without one."""
        path = str(path)
        if is_missing_folder(path):
            raise ModelError(
                f'model: {path!r} is not a folder; give a checkpoint folder or hub id'
            )
        with one_line_errors(f'model {path!r} cannot be loaded', ModelError):
            config = AutoConfig.from_pretrained(path, trust_remote_code=False)
        return cls(path, config, family_of(config.model_type, path))

    def loading_errors(self) -> contextlib.AbstractContextManager[None]:
        """Whatever reading the checkpoint's files raises, as a ModelError that names it."""
        return one_line_errors(f'model {self.path!r} cannot be loaded', ModelError)

    @property
    def vision_layers(self) -> int:
        """Layers of the tower up to the features that the language model reads."""
        layer = self.config.vision_feature_layer
        if not isinstance(layer, int):
            raise ModelError(
                f'{self.path}: vision_feature_layer is {layer}; features of several layers cannot '
                'be combined when tokens merge: a single layer is wanted'
            )
        total = self.config.vision_config.num_hidden_layers
        return layer if layer >= 0 else total + 1 + layer

    def vision_half(self, device: str, dtype: torch.dtype | None) -> VisionHalf:
        """Tower (up to the layer that is used) and projector."""
        config = type(self.config)(**self.config.to_dict())
        config.vision_config.num_hidden_layers = self.vision_layers
        if hasattr(config.vision_config, 'vision_use_head'):
            config.vision_config.vision_use_head = False
        return self._load(VisionHalf, config, VISION_KEYS, device, dtype)

    def language_half(self, device: str, dtype: torch.dtype | None) -> PreTrainedModel:
        """The language model with its head, of its own class (Qwen2ForCausalLM, ...)."""
        config = self.config.get_text_config()
        config.tie_word_embeddings = self.config.tie_word_embeddings
        return self._load(AutoModelForCausalLM, config, LANGUAGE_KEYS, device, dtype)

    def newline(self) -> torch.Tensor | None:
        """The embedding that follows each image's tokens, (D,); None in families without."""
        if not self.family.newline:
            return None
        names = ('model.image_newline', 'image_newline')
        with self.loading_errors():
            for name in names:
                for file in self._files_with(name):
                    with safe_open(file, 'pt') as tensors:
                        if name in tensors.keys():  # noqa: SIM118 (not a dict)
                            return tensors.get_tensor(name)
        raise ModelError(f'{self.path}: the checkpoint lacks image_newline; is it complete?')

    def _files_with(self, name: str) -> list[str]:
        """The safetensors file that holds (or, in a single-file checkpoint, may hold) `name`."""
        index = cached_file(
            self.path,
            'model.safetensors.index.json',
            _raise_exceptions_for_missing_entries=False,
        )
        if index is None:
            return [cached_file(self.path, 'model.safetensors')]
        with open(index, encoding='utf-8') as stream:
            shard = json.load(stream)['weight_map'].get(name)
        return [] if shard is None else [cached_file(self.path, shard)]

    def _load(
        self, cls: type, config: Any, keys: dict, device: str, dtype: torch.dtype | None
    ) -> Any:
        with self.loading_errors(), quiet_loading():
            model, info = cls.from_pretrained(
                self.path,
                config=config,
                key_mapping=keys,
                dtype=self._dtype(device, dtype),
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                attn_implementation='sdpa',
            )
        missing = sorted(info['missing_keys'])
        if missing:
            raise ModelError(
                f'{self.path}: the checkpoint lacks {len(missing)} tensors, {missing[0]} first; '
                'is it complete?'
            )
        return model.to(device).eval()

    def _dtype(self, device: str, dtype: torch.dtype | None) -> torch.dtype | str:
        if dtype is not None:
            return dtype
        own = getattr(self.config, 'dtype', None)
        half_on_cpu = own == torch.float16 and str(device) == 'cpu'
        # float16 arithmetic is slow and incomplete on CPUs; bfloat16 takes the same memory.
        return torch.bfloat16 if half_on_cpu else 'auto'


class VisionHalf(PreTrainedModel):
    """vision_tower and multi_modal_projector, named as in the whole model."""

    _supports_sdpa = True
    _keys_to_ignore_on_load_unexpected = (r'.*',)

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.vision_tower = AutoModel.from_config(config.vision_config, trust_remote_code=False)
        self.multi_modal_projector = PROJECTORS[config.model_type](config)
        self.post_init()
