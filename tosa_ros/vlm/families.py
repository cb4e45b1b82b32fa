"""The model families that can be asked, and how their checkpoints name and pack things."""

from __future__ import annotations

from dataclasses import dataclass

from tosa_ros.errors import ModelError


@dataclass(frozen=True)
class Family:
    """How a LLaVA-style family turns one image into the language model's tokens.

    fit: how an image becomes the tower's square input: 'processor' (as the checkpoint's image
        processor says: shortest edge and centre crop, or padding), 'stretch', or 'pad'.
    newline: whether the learnt `image_newline` embedding follows each image's tokens.
    template: chat template for checkpoints that carry none.
    """

    name: str
    fit: str
    newline: bool
    template: str


_USER_ASSISTANT = (
    "{% for m in messages %}USER: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>\n{% else %}{{ c['text'] }}{% endif %}"
    '{% endfor %} {% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}'
)
_CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }} {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>{% endif %}{% endfor %}{% for c in m['content'] %}"
    "{% if c['type'] == 'text' %}\n{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>"
    '{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}'
)

# LLaVA-NeXT and OneVision: the one-tile path, which is what transformers itself takes when a
# OneVision prompt holds several images. OneVision pads that tile to a square, NeXT stretches it.
FAMILIES = {
    'llava': Family('LLaVA-1.5', 'processor', False, _USER_ASSISTANT),
    'llava_next': Family('LLaVA-NeXT', 'stretch', True, _USER_ASSISTANT),
    'llava_onevision': Family('LLaVA-OneVision', 'pad', True, _CHATML),
}


def family_of(model_type: str, where: str) -> Family:
    """The family of a checkpoint's model_type. Raises ModelError that lists those supported."""
    if model_type not in FAMILIES:
        raise ModelError(
            f'{where}: its model_type is {model_type!r}, which is not supported; wanted one of '
            + ', '.join(f'{key} ({family.name})' for key, family in FAMILIES.items())
        )
    return FAMILIES[model_type]
