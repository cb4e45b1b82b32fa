"""transformers' own models and image processors, which every family is held against."""

from __future__ import annotations

from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.pixtral.image_processing_pil_pixtral import PixtralImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from benchmarks.whole_models import inputs_of, logits, whole

__all__ = ['PROCESSORS', 'inputs_of', 'logits', 'whole']

# Of each family: its image processor, and what is changed so that it makes one tile.
PROCESSORS = {
    'internvl': (GotOcr2ImageProcessorPil, {'crop_to_patches': False}),
    'gemma3': (Gemma3ImageProcessorPil, {}),
    'paligemma': (SiglipImageProcessorPil, {}),
    'idefics3': (Idefics3ImageProcessorPil, {'do_image_splitting': False}),
    'smolvlm': (SmolVLMImageProcessorPil, {'do_image_splitting': False}),
    'qwen2_vl': (Qwen2VLImageProcessorPil, {}),
    'mistral3': (PixtralImageProcessorPil, {'patch_size': 16}),
}
