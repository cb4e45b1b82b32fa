"""LLaVA-style models in two halves: a vision encoder that merges, a language answerer.

Each half loads only its own weights, so that they can live in two processes; what passes
between them is VisualTokens. Stands on `vision`; importing it imports transformers.
"""

from tosa_ros.vlm.answerer import Answerer, Generation
from tosa_ros.vlm.evidence import Evidence
from tosa_ros.vlm.families import FAMILIES
from tosa_ros.vlm.options import Answering, AnswerOptions
from tosa_ros.vlm.together import encode_together
from tosa_ros.vlm.tokens import VisualTokens
from tosa_ros.vlm.vision_encoder import VisionEncoder

__all__ = [
    'FAMILIES',
    'AnswerOptions',
    'Answerer',
    'Answering',
    'Evidence',
    'Generation',
    'VisionEncoder',
    'VisualTokens',
    'encode_together',
]
