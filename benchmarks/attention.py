"""How log(size) gets to the key columns: the choices that proportional attention has.

    python -m benchmarks.attention --json

none: attention without it. row: a bias (B, 1, 1, T) for the fused kernel; row-float32: the same in
float32 whatever the type. full: that bias written out to (B, heads, T, T). channel: log(size) as
one more channel of the keys, padded to eight. eager: attention written out. flex: FlexAttention,
compiled. slower: time / time of none, median over turns.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from benchmarks.measuring import alternate, parser, ratio, report, setup

# (heads, tokens, head_dim): half-merged so400m/14@384, CLIP L/14@336, ViT-B, the small tower.
SHAPES = {
    'so400m': (16, 404, 72),
    'clip-l-336': (16, 360, 64),
    'vit-b': (12, 122, 64),
    'small': (4, 160, 32),
}
CHANNELS = 8


def main(argv: list[str] | None = None) -> int:
    options = parser(__doc__, repeats=40)
    options.add_argument('--shapes', nargs='+', choices=list(SHAPES), default=list(SHAPES))
    options.add_argument('--dtypes', nargs='+', default=['float32', 'bfloat16'])
    options.add_argument('--batch', type=int, default=1)
    options.add_argument('--flex', action='store_true', help='FlexAttention too: compiles')
    args = options.parse_args(argv)
    setup(args)
    rows = []
    for name in args.shapes:
        for dtype in args.dtypes:
            heads, tokens, width = SHAPES[name]
            shape = (3, args.batch, tokens, heads, width)
            qkv = torch.randn(shape, device=args.device, dtype=getattr(torch, dtype))
            size = torch.randint(1, 9, (args.batch, 1, 1, tokens), device=args.device).float()
            runs = choices(*qkv.transpose(2, 3), size.log(), args.flex)
            times = alternate(runs, args.repeats, args.device)
            rows += [
                {
                    'shape': name,
                    'method': method,
                    'dtype': dtype,
                    'batch': args.batch,
                    'ms': median(times[method]),
                    'slower': ratio(times, method, 'none'),
                }
                for method in runs
            ]
    report('attention', args, rows)
    return 0


def choices(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, flex: bool) -> dict[str, Callable]:
    """Attention with bias (B, 1, 1, T) float32 on the key columns, in each way."""
    batch, heads, tokens, width = q.shape
    row, scale = bias.to(q.dtype), width**-0.5
    full = row.expand(batch, heads, tokens, tokens).contiguous()

    def channel() -> Tensor:
        query, key, value = (F.pad(x, (0, CHANNELS)) for x in (q, k, v))
        query[..., width] = 1 / scale
        key[..., width] = row[:, :, 0]
        out = F.scaled_dot_product_attention(query, key, value, scale=scale)
        return out[..., :width]

    runs = {
        'none': lambda: F.scaled_dot_product_attention(q, k, v),
        'row': lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=row),
        'full': lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=full),
        'channel': channel,
        'eager': lambda: (q @ k.mT * scale + row).softmax(dim=-1) @ v,
    }
    if q.device.type == 'cpu':
        runs['row-float32'] = lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    if flex:
        compiled = torch.compile(flex_attention, dynamic=False)

        def weighted(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
            return score + bias[b, 0, 0, j]

        runs['flex'] = lambda: compiled(q, k, v, score_mod=weighted)
    return runs


if __name__ == '__main__':
    sys.exit(main())
