"""WholeModel: families by transformers' own model classes, which do all but the merging.

Each half is the whole model without the modules of the other half, so that the model's own code
makes an image's embeddings and reads the prompt. Tokens merge in between: at the output.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, PreTrainedModel

from tosa_ros.spatial import PatchGrid
from tosa_ros.vision import MergedEncoder, MergedTokens
from tosa_ros.vlm.families.base import Family


class WholeModel(Family):
    """What the families of most vision-language models of transformers have in common.

    sees, speaks: the modules of the model that belong to the vision half alone, and to the
    language half alone.
    """

    roads = ('output',)
    why_not = 'tower is followed by one that joins neighbouring patches, which must stay a grid'
    sees: ClassVar[tuple[str, ...]] = ('model.vision_tower', 'model.multi_modal_projector')
    speaks: ClassVar[tuple[str, ...]] = ('model.language_model', 'lm_head')

    def load_vision(self, device: str, dtype: torch.dtype | None) -> PreTrainedModel:
        return self._without(self.speaks, device, dtype)

    def load_language(self, device: str, dtype: torch.dtype | None) -> PreTrainedModel:
        return self._without(self.sees, device, dtype)

    def _without(
        self, parts: Sequence[str], device: str, dtype: torch.dtype | None
    ) -> PreTrainedModel:
        config = copy.deepcopy(self.checkpoint.config)
        cls = half_of(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config)], parts)
        # Some language models are right with attention of their own alone (Gemma 2).
        return self.checkpoint.load(cls, config, {}, device, dtype, attention=None)

    def embed(
        self,
        half: nn.Module,
        tower: MergedEncoder | None,
        pixels: Sequence[Tensor],
        grids: Sequence[PatchGrid],
    ) -> Tensor:
        return self.features(half, torch.stack(list(pixels)).to(half.device, half.dtype))

    def tower(self, half: nn.Module) -> nn.Module:
        return half.model.vision_tower

    def project(self, half: nn.Module, merged: MergedTokens) -> Tensor:
        """Of SigLIP towers, whose last norm comes behind the last layer."""
        tokens = half.model.vision_tower.post_layernorm(merged.tokens)
        return half.model.multi_modal_projector(tokens)

    def features(self, half: PreTrainedModel, pixels: Tensor) -> Tensor:
        """Embeddings (B, N, D) of a batch of pixels (B, 3, H, W)."""
        return half.model.get_image_features(pixels).pooler_output


def half_of(cls: type[PreTrainedModel], absent: Sequence[str]) -> type[PreTrainedModel]:
    """A model class without some of its modules, whose tensors are then not read either."""

    def made(self: PreTrainedModel, config: Any) -> None:
        cls.__init__(self, config)
        for part in absent:
            parent, _, name = part.rpartition('.')
            delattr(self.get_submodule(parent), name)

    tied = getattr(cls, '_tied_weights_keys', None) or {}
    left = {a: b for a, b in tied.items() if not f'{a} {b}'.startswith(tuple(absent))}
    members = {
        '__init__': made,
        # transformers knows by name and module how the class's tensors were called of old.
        '__module__': cls.__module__,
        '_tied_weights_keys': left,
        '_keys_to_ignore_on_load_unexpected': ['.*'],
    }
    if 'lm_head' in absent:  # It neither reads nor says words.
        members |= dict.fromkeys(('get_input_embeddings', 'get_output_embeddings'), _nothing)
    return type(cls.__name__, (cls,), members)


def _nothing(self: PreTrainedModel) -> None:
    return None
