"""Pixtral, a LLaVA by its configuration: Mistral 3's prompt, with a patch a token."""

from __future__ import annotations

from tosa_ros.vlm.families.mistral3 import Mistral3


class Pixtral(Mistral3):
    """Pixtral 12B (the -hf copies)."""

    title = 'Pixtral'
    why_not = 'tower reads all images as one row of patches, of which none may go'
