"""LLaVA-OneVision by one tile, padded to a square, and a newline behind its patches."""

from __future__ import annotations

from transformers.models.llava_onevision.modeling_llava_onevision import (
    LlavaOnevisionMultiModalProjector,
)

from tosa_ros.vlm.families.llava_next import LlavaNext


class LlavaOnevision(LlavaNext):
    """LLaVA-OneVision; the embedded model is one."""

    title = 'LLaVA-OneVision'
    template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }} {% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}<image>{% endif %}{% endfor %}{% for c in m['content'] %}"
        "{% if c['type'] == 'text' %}\n{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>"
        '{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}'
    )
    projector = LlavaOnevisionMultiModalProjector
    fit = 'pad'
