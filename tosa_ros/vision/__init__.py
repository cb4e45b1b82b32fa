"""Puts token merging inside a loaded vision encoder, one thin adapter a backbone.

Stands on `merging` and `spatial`; names no model library at import time.
"""

from tosa_ros.vision.adapters import SUPPORTED, Adapter, adapter_for
from tosa_ros.vision.encoder import MergedEncoder, MergedTokens, merge_tokens

__all__ = [
    'SUPPORTED',
    'Adapter',
    'MergedEncoder',
    'MergedTokens',
    'adapter_for',
    'merge_tokens',
]
