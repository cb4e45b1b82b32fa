"""SigLIP, SigLIP 2 and CLIP towers of transformers, and those made like them."""

from __future__ import annotations

import torch.nn as nn

from tosa_ros.vision.adapters.base import Adapter


class Siglip(Adapter):
    """SigLIP, and SigLIP 2 of fixed resolution (transformers)."""

    title = 'SigLIP'
    names = ('SiglipVisionModel', 'SiglipVisionTransformer')

    @property
    def layers(self) -> list[nn.Module]:
        # transformers before 5.2 wraps the transformer in `vision_model`.
        return list(getattr(self.model, 'vision_model', self.model).encoder.layers)


class Siglip2(Siglip):
    """SigLIP 2 NaFlex (transformers), padded batches too."""

    title = 'SigLIP 2'
    names = ('Siglip2VisionModel', 'Siglip2VisionTransformer')

    @property
    def heads(self) -> list[nn.Module]:
        inner = getattr(self.model, 'vision_model', self.model)
        return [inner.head] if hasattr(inner, 'head') else []


class Idefics3(Siglip):
    """The towers of Idefics3 and SmolVLM (transformers), without padding."""

    title = "Idefics3's SigLIP"
    names = ('Idefics3VisionTransformer', 'SmolVLMVisionTransformer')


class Clip(Siglip):
    """CLIP (transformers): one class token."""

    title = 'CLIP'
    names = ('CLIPVisionModel', 'CLIPVisionTransformer')
    protected = 1
