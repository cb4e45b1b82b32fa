"""The time that merging itself takes: everything that is not the tower's own layers.

    python -m benchmarks.overhead --towers so400m --keeps 0.25

Measured inside the tower, where its kernels are as cold as they are in use: sharper than what two
towers' times differ by. ms: median over runs. share: of the time of all the rest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import product
from statistics import median
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.measuring import parser, report, setup, timed
from benchmarks.towers import NAMES, pixels, spatial, tower
from tosa_ros.merging import METHODS, MergeState, method_from
from tosa_ros.vision import MergedEncoder, encoder, merge_tokens
from tosa_ros.vision.adapters import Adapter

# All that an encoder does beside running its layers.
PARTS = (
    (MergedEncoder, '_start'),
    (Adapter, 'keys'),
    (encoder, 'merge_layer'),
    (MergeState, 'bias'),
    (MergeState, 'in_raster_order'),
    (MergedEncoder, '_result'),
)


def main(argv: list[str] | None = None) -> int:
    options = parser(__doc__, repeats=5)
    options.add_argument('--towers', nargs='+', choices=NAMES, default=['so400m', 'vit-b'])
    options.add_argument('--dtypes', nargs='+', default=['float32', 'bfloat16'])
    options.add_argument('--keeps', nargs='+', type=float, default=[0.1, 0.25, 0.5])
    options.add_argument('--methods', nargs='+', choices=METHODS, default=['tosa'])
    args = options.parse_args(argv)
    setup(args)
    rows = []
    for name, dtype in product(args.towers, args.dtypes):
        model = tower(name, args.device, getattr(torch, dtype))
        image, places = pixels(model, 1), spatial(model, 1)
        for keep, method in product(args.keeps, args.methods):
            with merge_tokens(model, method_from(method, {'keep': keep})) as merged:
                run = partial(merged, pixel_values=image, spatial=places)
                figures = measure(run, args.repeats, args.device)
            row = {'tower': name, 'method': method, 'keep': keep, 'dtype': dtype}
            rows.append({**row, 'batch': 1, **figures})
    report('overhead', args, rows)
    return 0


@torch.inference_mode()
def measure(run: Callable[[], Any], repeats: int, device: str) -> dict[str, float]:
    """Of a merged tower's runs, after one that does not count: merging's ms, and its share."""
    own, shares = [], []
    run()
    with inside(device) as spent:
        for _ in range(repeats):
            spent.clear()
            total = timed(run, device)
            own.append(sum(spent))
            shares.append(sum(spent) / (total - sum(spent)))
    return {'ms': median(own), 'share': median(shares)}


@contextmanager
def inside(device: str) -> Iterator[list[float]]:
    """Yields the milliseconds of every call of PARTS, as they come."""
    spent: list[float] = []

    def watched(part: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            results: list[Any] = []
            spent.append(timed(lambda: results.append(part(*args, **kwargs)), device))
            return results[0]

        return call

    with ExitStack() as stack:
        for owner, name in PARTS:
            stack.enter_context(patch.object(owner, name, watched(getattr(owner, name))))
        yield spent


if __name__ == '__main__':
    sys.exit(main())
