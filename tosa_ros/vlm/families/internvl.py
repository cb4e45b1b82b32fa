"""InternVL (-hf checkpoints): stretched tiles, whose patches are shuffled four to a token."""

from __future__ import annotations

from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

from tosa_ros.vlm.families.cropping import Canvas
from tosa_ros.vlm.families.whole import WholeModel
from tosa_ros.vlm.image_input import ImageInput, own_processor, tried


class InternVl(WholeModel):
    """InternVL 2.5, 3 and 3.5."""

    title = 'InternVL'
    template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}<IMG_CONTEXT>\n{% else %}{{ c['text'] }}{% endif %}"
        '{% endfor %}<|im_end|>\n{% endfor %}'
        '{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}'
    )

    def image_input(self) -> ImageInput:
        joined = round(1 / self.checkpoint.config.downsample_ratio)
        return ImageInput.of(self.checkpoint, 'stretch', joined)

    def tiles(self) -> Canvas:
        processor = own_processor(self.checkpoint, GotOcr2ImageProcessorPil, crop_to_patches=True)
        with self.checkpoint.loading_errors():
            return tried(Canvas(processor, self.image_input().side))

    def write(self, text: str) -> str:
        return text.replace('<IMG_CONTEXT>', '<img><IMG_CONTEXT></img>')
