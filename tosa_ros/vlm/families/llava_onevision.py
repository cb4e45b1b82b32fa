"""LLaVA-OneVision by one tile, padded to a square, and a newline behind its patches, or by tiles.

The base image beside tiles is stretched, as its processor makes it.
"""

from __future__ import annotations

from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)
from transformers.models.llava_onevision.modeling_llava_onevision import (
    LlavaOnevisionMultiModalProjector,
)

from tosa_ros.errors import ModelError, printable
from tosa_ros.vlm.families.anyres import AnyRes
from tosa_ros.vlm.families.llava_next import LlavaNext

ASPECT = 'anyres_max_'


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
    processor = LlavaOnevisionImageProcessorPil

    def tiles(self) -> AnyRes:
        said = self.checkpoint.config.vision_aspect_ratio
        most = str(said).removeprefix(ASPECT)
        if not most.isdecimal() or not 1 <= int(most) <= 100:
            raise ModelError(
                f'{self.checkpoint.path}: vision_aspect_ratio is {printable(repr(said), 60)}; '
                f'wanted {ASPECT} and a number of tiles, 1 to 100'
            )
        return AnyRes(self.checkpoint, self.processor, int(most))
