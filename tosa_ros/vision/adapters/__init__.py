"""What merging must know of each backbone: its layers, their two halves, and their keys.

Encoders are recognised by class name, so that no model library is imported here. A new backbone
is an Adapter in a module and a row in ADAPTERS, or an entry point of another package.
"""

from __future__ import annotations

import torch.nn as nn

from tosa_ros.errors import VisionError
from tosa_ros.registry import Registry
from tosa_ros.vision.adapters.base import Adapter, hook

__all__ = ['ADAPTERS', 'Adapter', 'adapter_for', 'hook', 'supported']

ADAPTERS: Registry[type[Adapter]] = Registry(
    'backbone adapter',
    'tosa_ros.adapters',
    {
        'siglip': 'tosa_ros.vision.adapters.siglip:Siglip',
        'siglip2': 'tosa_ros.vision.adapters.siglip:Siglip2',
        'idefics3': 'tosa_ros.vision.adapters.siglip:Idefics3',
        'clip': 'tosa_ros.vision.adapters.siglip:Clip',
        'dinov2': 'tosa_ros.vision.adapters.dinov2:Dinov2',
        'dinov3': 'tosa_ros.vision.adapters.dinov2:Dinov3',
        'radio': 'tosa_ros.vision.adapters.dinov2:Radio',
        'vit': 'tosa_ros.vision.adapters.vit:Vit',
        'deit': 'tosa_ros.vision.adapters.vit:Deit',
        'ijepa': 'tosa_ros.vision.adapters.vit:IJepa',
        'internvit': 'tosa_ros.vision.adapters.internvit:InternVit',
        'aimv2': 'tosa_ros.vision.adapters.aimv2:Aimv2',
        'timm': 'tosa_ros.vision.adapters.timm:Timm',
        'timm_eva': 'tosa_ros.vision.adapters.timm:TimmEva',
    },
    base='tosa_ros.vision.adapters.base:Adapter',
    error=VisionError,
)

# Encoders that are asked for and cannot be: class names, and what stands in the way.
GRID = 'it joins neighbouring patches behind its layers, so they must stay a grid'
WINDOWS = 'its layers look at windows of the patch grid, so patches must stay one'
PAIRS = 'its attention has a learned bias for each pair of patches'
UNFIT = {
    'Qwen2VisionTransformerPretrainedModel': GRID,
    'Qwen2_5_VisionTransformerPretrainedModel': GRID,
    'Qwen3VLVisionModel': GRID,
    'Qwen3VLMoeVisionModel': GRID,
    'Qwen3_5VisionModel': GRID,
    'Qwen3_5MoeVisionModel': GRID,
    'Glm4vVisionModel': GRID,
    'SwinModel': WINDOWS,
    'Swinv2Model': WINDOWS,
    'HieraModel': WINDOWS,
    'SamVisionEncoder': WINDOWS,
    'BeitModel': PAIRS,
    'Data2VecVisionModel': PAIRS,
    # timm's:
    'SwinTransformer': WINDOWS,
    'Beit': PAIRS,
    'VisionTransformerRelPos': PAIRS,
}


def supported() -> str:
    """The encoders that tokens can be merged in, for people."""
    return ', '.join(f'{cls.title} ({", ".join(cls.names)})' for cls in ADAPTERS.loaded().values())


def adapter_for(model: nn.Module) -> Adapter:
    """The adapter of a supported encoder.

    Raises VisionError for anything else, with what stands in the way, or with the list of what is
    supported and, where the model contains one encoder that is, the name to pass instead.
    """
    cls = _adapter_class(model)
    if cls is not None:
        return cls(model)
    why = next(
        (UNFIT[base.__name__] for base in type(model).__mro__ if base.__name__ in UNFIT), ''
    )
    if why:
        raise VisionError(
            f'tokens cannot merge between the layers of {type(model).__name__}: {why}. Merge what '
            "it gives instead: merge_output, or where='output' of a vision-language model"
        )
    inside = [name for name, part in model.named_modules() if name and _adapter_class(part)]
    outer = [n for n in inside if not any(n.startswith(f'{other}.') for other in inside)]
    hint = f'; pass its part {outer[0]!r}' if len(outer) == 1 else ''
    raise VisionError(
        f'{type(model).__name__} is not an encoder that tokens can be merged in{hint}. '
        f'Supported: {supported()}; any other by adapter=, see docs/extending.md'
    )


def _adapter_class(model: nn.Module) -> type[Adapter] | None:
    """The adapter that names the model's class or, failing that, its nearest base class."""
    adapters = ADAPTERS.loaded().values()
    classes = (cls.__name__ for cls in type(model).__mro__)
    return next((one for name in classes for one in adapters if name in one.names), None)
