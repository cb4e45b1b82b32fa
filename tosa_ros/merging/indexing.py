"""Rows of batched token tensors: taking them and adding to them, one kernel each.

Rows are named by flat indices, (B * K,) into all B * T rows, K for each sample.
"""

from __future__ import annotations

import torch
from torch import Tensor


def exporting() -> bool:
    """Whether torch.export is recording what is computed, for a file that runs elsewhere.

    What other programs are slow at, or cannot do, is then written in another way.
    """
    # torch before 2.7 does not tell, nor exports.
    return getattr(torch.compiler, 'is_exporting', bool)()


def flat(index: Tensor, tokens: int) -> Tensor:
    """index (B, K) into each sample's `tokens` rows -> (B * K,) into all rows."""
    if index.shape[0] == 1:
        return index[0]
    start = torch.arange(0, len(index) * tokens, tokens, device=index.device)
    return (index + start.unsqueeze(1)).flatten()


def take(x: Tensor, rows: Tensor) -> Tensor:
    """Rows of x (B, T, D) -> (B, K, D)."""
    if x.shape[0] == 1:
        return x.index_select(1, rows)
    return x.flatten(0, 1).index_select(0, rows).view(len(x), -1, x.shape[-1])


def add_rows(x: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    """x (B, T, D), contiguous, with values (B, K, D) added in place at its rows.

    Values of one row add up. The result is the same on every run: `index_add_` is on a CPU; on a
    GPU it is not, and `index_put_`, which sorts the indices first, takes its place.
    """
    if x.device.type != 'cpu':
        x.view(-1, x.shape[-1]).index_put_((rows,), values.flatten(0, 1), accumulate=True)
    elif x.shape[0] == 1:
        x.index_add_(1, rows, values)
    else:
        x.view(-1, x.shape[-1]).index_add_(0, rows, values.flatten(0, 1))
    return x
