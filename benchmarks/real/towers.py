"""A pretrained vision tower from a folder or a hub, and what turns a frame into its input."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from tosa_ros.errors import ModelError
from tosa_ros.frames import Frame
from tosa_ros.merging import MergingMethod, ToSA
from tosa_ros.spatial import PatchGrid, SpatialTokens
from tosa_ros.vision import adapter_for
from tosa_ros.vlm.frame_places import spatial_kind, spatial_tokens

# Where a tower comes without its processor's file: what its family was trained with.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
DEFAULT_SIDE = {'dinov2': 280}


@dataclass(frozen=True, eq=False)
class Tower:
    """A loaded encoder; pictures are stretched to side x side pixels."""

    name: str
    model: nn.Module
    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def load(cls, path_or_id: str, side: int = 0) -> Tower:
        """side: of the input, pixels; 0: 280 for DINOv2, else the tower's own.

        Raises ModelError for what cannot be loaded, or a side that patches do not divide.
        """
        from transformers import AutoConfig, AutoModel

        try:
            config = AutoConfig.from_pretrained(path_or_id, trust_remote_code=False)
            config = getattr(config, 'vision_config', config)
            model = AutoModel.from_pretrained(
                path_or_id,
                config=config,
                dtype=torch.float32,
                attn_implementation='sdpa',
                trust_remote_code=False,
            )
        except (OSError, ValueError) as error:
            raise ModelError(f'{path_or_id}: no tower can be loaded: {error}') from error
        side = side or DEFAULT_SIDE.get(config.model_type, config.image_size)
        if side % config.patch_size:
            raise ModelError(f'side: {side}; wanted a multiple of {config.patch_size} pixels')
        mean, std = _pixel_settings(path_or_id, config.model_type)
        return cls(str(path_or_id), model.eval(), side, mean, std)

    @cached_property
    def patches(self) -> int:
        """Along one side of the picture."""
        return self.side // self.model.config.patch_size

    @cached_property
    def layers(self) -> int:
        return len(adapter_for(self.model).layers)

    def pixels(self, rgb: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 -> (3, side, side) float32."""
        small = Image.fromarray(rgb).resize((self.side,) * 2, Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255
        mean, std = (torch.tensor(x).view(3, 1, 1) for x in (self.mean, self.std))
        return (pixels - mean) / std

    def grid(self, frame: Frame) -> PatchGrid:
        return PatchGrid.over(self.patches, self.patches, frame.width, frame.height)

    def spatial(self, frame: Frame, method: MergingMethod | None) -> SpatialTokens | None:
        """What the method reads of the frame's depth, or None where there is none."""
        method = method or ToSA()
        kind = spatial_kind(frame, method)
        return None if kind == 'none' else spatial_tokens(frame, self.grid(frame), kind, method)

    def normed(self, tokens: Tensor) -> Tensor:
        """Tokens of the last layer after the tower's final norm, float32."""
        for name in ('layernorm', 'post_layernorm'):
            norm = getattr(self.model, name, None)
            if isinstance(norm, nn.LayerNorm):
                return norm(tokens.float())
        raise ModelError(f'{self.name}: a {type(self.model).__name__} without a final norm')


def _pixel_settings(path_or_id: str, kind: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

    try:
        settings, _ = LlavaImageProcessorPil.get_image_processor_dict(path_or_id)
    except OSError:
        return HALF if 'siglip' in kind else IMAGENET
    return tuple(settings['image_mean']), tuple(settings['image_std'])
