"""Puts token merging inside a loaded vision encoder, one thin adapter a backbone.

Stands on `merging` and `spatial`; names no model library at import time.
"""

from tosa_ros.vision.adapters import ADAPTERS, Adapter, adapter_for, supported
from tosa_ros.vision.encoder import MergedEncoder, MergedTokens, merge_tokens

__all__ = [
    'ADAPTERS',
    'Adapter',
    'MergedEncoder',
    'MergedTokens',
    'adapter_for',
    'merge_tokens',
    'supported',
]
