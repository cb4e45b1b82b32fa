"""Puts token merging inside a loaded vision encoder, one thin adapter a backbone.

Stands on `merging` and `spatial`; names no model library at import time.
"""

from tosa_ros.vision.adapters import ADAPTERS, Adapter, adapter_for, supported
from tosa_ros.vision.encoder import MergedEncoder, MergedTokens, merge_tokens, weighs_tokens
from tosa_ros.vision.output import OUTPUT_STEPS, merge_output

__all__ = [
    'ADAPTERS',
    'OUTPUT_STEPS',
    'Adapter',
    'MergedEncoder',
    'MergedTokens',
    'adapter_for',
    'merge_output',
    'merge_tokens',
    'supported',
    'weighs_tokens',
]
