"""Qwen3-VL: its first layers add features of the tower's middle (DeepStack) to the image's rows.

A token carries its embedding and those features side by side, so that one merge fuses them all.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from tosa_ros.vlm.families.qwen2_vl import Qwen2Vl


class Qwen3Vl(Qwen2Vl):
    """Qwen3-VL; tokens are alike if their embeddings are."""

    title = 'Qwen3-VL'
    template = Qwen2Vl.template.partition('<|im_end|>\n{% endif %}')[2]

    @property
    def key_channels(self) -> int:
        return self.checkpoint.config.text_config.hidden_size

    def joined(self, output: Any) -> Tensor:
        deep = [torch.stack(features) for features in output.deepstack_features]
        return torch.cat([torch.stack(output.pooler_output), *deep], dim=-1)

    def words(self, embeddings: Tensor) -> Tensor:
        layers = len(self.checkpoint.config.vision_config.deepstack_visual_indexes)
        return F.pad(embeddings, (0, layers * self.key_channels))

    def read(
        self, model: PreTrainedModel, positions: Tensor, images: Tensor, **inputs: Any
    ) -> Tensor:
        if 'inputs_embeds' not in inputs:
            return super().read(model, positions, images, **inputs)
        embeds, *deep = inputs.pop('inputs_embeds').split(self.key_channels, dim=-1)
        kept = inputs.pop('logits_to_keep', slice(-1, None))
        seen = images[:, -embeds.shape[1] :].bool()
        output = model.get_decoder()(
            inputs_embeds=embeds,
            position_ids=positions.permute(2, 0, 1),
            visual_pos_masks=seen,
            deepstack_visual_embeds=[features[seen] for features in deep],
            use_cache=True,
            **inputs,
        )
        return model.lm_head(output.last_hidden_state[:, kept])
