"""Rows of batched token tensors: taking them and adding to them, sample by sample.

The two operations that every merge is made of, each one kernel whatever the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor


def take(x: Tensor, index: Tensor) -> Tensor:
    """Rows `index` (B, K) of x (B, T) or (B, T, D) -> (B, K[, D])."""
    if x.ndim == 2:
        return x.gather(1, index)
    if len(index) == 1:
        return x.index_select(1, index[0])
    rows = x.flatten(0, 1).index_select(0, _flat(index, x.shape[1]))
    return rows.view(*index.shape, x.shape[-1])


def add_rows(x: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """x (B, T, D), contiguous, with rows (B, K, D) added in place at index (B, K).

    Rows of one index add up. The result is the same on every run: `index_add_` is on a CPU; on a
    GPU it is not, and `index_put_`, which sorts the indices first, takes its place.
    """
    if x.is_cuda:
        flat, where = x.view(-1, x.shape[-1]), _flat(index, x.shape[1])
        flat.index_put_((where,), rows.flatten(0, 1), accumulate=True)
        return x
    if len(index) == 1:
        return x.index_add_(1, index[0], rows)
    x.view(-1, x.shape[-1]).index_add_(0, _flat(index, x.shape[1]), rows.flatten(0, 1))
    return x


def put_rows(x: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """x (B, T, D), contiguous, with rows (B, K, D) written in place at index (B, K)."""
    where = _flat(index, x.shape[1])
    x.view(-1, x.shape[-1]).index_copy_(0, where, rows.flatten(0, 1))
    return x


def _flat(index: Tensor, tokens: int) -> Tensor:
    """index (B, K) into each sample's `tokens` rows -> (B * K,) into all rows."""
    if len(index) == 1:
        return index[0]
    start = torch.arange(0, len(index) * tokens, tokens, device=index.device)
    return (index + start.unsqueeze(1)).flatten()
