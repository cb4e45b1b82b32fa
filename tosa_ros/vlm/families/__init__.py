"""The model families that can be asked, one module each, by the `model_type` of a checkpoint.

Where one model_type has models of two shapes, the tower's comes behind it: llava-pixtral.
A new family is a `Family` in a module and a row in FAMILIES, or an entry point of another package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tosa_ros.errors import ModelError, printable
from tosa_ros.registry import Registry

if TYPE_CHECKING:
    from tosa_ros.vlm.families.base import Family

FAMILIES: Registry[type[Family]] = Registry(
    'model family',
    'tosa_ros.families',
    {
        'llava': 'tosa_ros.vlm.families.llava:Llava',
        'llava-pixtral': 'tosa_ros.vlm.families.pixtral:Pixtral',
        'llava_next': 'tosa_ros.vlm.families.llava_next:LlavaNext',
        'llava_next_video': 'tosa_ros.vlm.families.llava_next_video:LlavaNextVideo',
        'llava_onevision': 'tosa_ros.vlm.families.llava_onevision:LlavaOnevision',
        'qwen2_vl': 'tosa_ros.vlm.families.qwen2_vl:Qwen2Vl',
        'qwen2_5_vl': 'tosa_ros.vlm.families.qwen2_5_vl:Qwen25Vl',
        'qwen3_vl': 'tosa_ros.vlm.families.qwen3_vl:Qwen3Vl',
        'internvl': 'tosa_ros.vlm.families.internvl:InternVl',
        'idefics3': 'tosa_ros.vlm.families.idefics3:Idefics3',
        'smolvlm': 'tosa_ros.vlm.families.smolvlm:SmolVlm',
        'paligemma': 'tosa_ros.vlm.families.paligemma:PaliGemma',
        'gemma3': 'tosa_ros.vlm.families.gemma3:Gemma3',
        'mistral3': 'tosa_ros.vlm.families.mistral3:Mistral3',
    },
    base='tosa_ros.vlm.families.base:Family',
    error=ModelError,
)


def family_of(model_type: str, where: str, tower: str = '') -> type[Family]:
    """The family of a checkpoint's model_type. Raises ModelError that lists those supported.

    tower: the model_type of its vision tower, where it is known.
    """
    if f'{model_type}-{tower}' in FAMILIES:
        return FAMILIES[f'{model_type}-{tower}']
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        known = [f'{name} ({family.title})' for name, family in FAMILIES.loaded().items()]
        raise ModelError(
            f'{where}: its model_type is {printable(repr(model_type), 60)}, which is not '
            f"supported; wanted one of {', '.join(known)}. Of a LLaVA in its authors' own layout "
            'there is a copy whose name ends in -hf'
        )
    return FAMILIES[model_type]
