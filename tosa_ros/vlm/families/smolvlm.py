"""SmolVLM and SmolVLM2, which are Idefics3 with another processor."""

from __future__ import annotations

from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from tosa_ros.vlm.families.idefics3 import Idefics3


class SmolVlm(Idefics3):
    """SmolVLM and SmolVLM2."""

    title = 'SmolVLM'
    processor = SmolVLMImageProcessorPil
