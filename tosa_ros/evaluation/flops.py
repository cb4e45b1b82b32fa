"""Counts the arithmetic of a run: every matrix product and attention, as executed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def flops(run: Callable[[], Any]) -> int:
    """Floating-point operations of the matrix products and attentions that `run()` makes.

    torch's own counter, extended by the CPU's fused attention.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    def attention(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> int:
        return sdpa_flop_count(query, key, value)

    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    counter = FlopCounterMode(display=False, custom_mapping={fused: attention})
    with torch.no_grad(), counter:
        run()
    return counter.get_total_flops()
