"""LLaVA-NeXT-Video by still pictures, which are LLaVA-NeXT's with another projector."""

from __future__ import annotations

from transformers.models.llava_next_video.modeling_llava_next_video import (
    LlavaNextVideoMultiModalProjector,
)

from tosa_ros.vlm.families.llava_next import LlavaNext


class LlavaNextVideo(LlavaNext):
    """LLaVA-NeXT-Video."""

    title = 'LLaVA-NeXT-Video'
    projector = LlavaNextVideoMultiModalProjector
