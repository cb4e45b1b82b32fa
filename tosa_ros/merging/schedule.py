"""How many tokens each layer removes, and how much each layer listens to semantics.

Plain Python: schedules depend on the number of tokens and layers only, never on their values,
so shapes are static and nothing here synchronises with a device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral, Real

from tosa_ros.errors import MergingError

RemovalSpec = int | Sequence[int] | tuple[int, float]
MergeAt = str | Sequence[int]
Alpha = str | float | Sequence[float]

# Merging in one layer after another: the first that merges, and which power of the tokens falls by
# equal steps. The keys of the first layer have seen no other patch.
FALLS = {'every': (0, 1), 'most': (1, 0.5)}
TAKES = 0.45  # 'few': the most that one merge takes of the tokens, where there are layers enough


def removals(
    tokens: int,
    layers: int,
    keep: float | None,
    r: RemovalSpec | None,
    merge_at: MergeAt = 'most',
) -> list[int]:
    """Patch tokens to remove in each of `layers` layers.

    With `keep`, round(keep * tokens), and at least one, are left. merge_at 'every': each layer
    removes as many. 'most': every layer but the first; the square root of the tokens, the side of
    their grid, shrinks by equal steps. 'few': as few merges as can be of which none takes more
    than TAKES of the tokens, spread over the layers. A list: the layers that merge. In the last
    two, every merge takes the same share of the tokens that are left.
    With `r`: an int, the same in every layer; a list, one a layer; (r, inflect) with a
    float inflect, linear from r (1 - inflect) to r (1 + inflect). With `r` a layer removes at
    most half of what it has, as in the papers.
    """
    if r is not None:
        plan = []
        for count in _expand(r, layers):
            plan.append(min(count, tokens // 2))
            tokens -= plan[-1]
        return plan
    target = max(1, round(keep * tokens))
    if merge_at in FALLS:
        first, power = FALLS[merge_at]
        first = min(first, layers - 1)
        left = _falling(tokens, target, layers - first, power)
        return [0] * first + [a - b for a, b in pairwise(left)]
    at = merge_at if not isinstance(merge_at, str) else _few(target / tokens, layers)
    if at and at[-1] >= layers:
        raise MergingError(
            f'merge_at: layer {at[-1]} of an encoder whose layers are 0..{layers - 1}'
        )
    plan = [0] * layers
    for done, layer in enumerate(at, start=1):
        plan[layer] = tokens - round(tokens * (target / tokens) ** (1 / (len(at) - done + 1)))
        tokens -= plan[layer]
    return plan


def _few(keep: float, layers: int) -> list[int]:
    """Layers that merge, spread evenly: half a step behind the first layer, a whole one before
    the end. Never the first layer, whose keys have seen no other patch."""
    # Rounded first: 0.55 is one merge that takes 0.45, whatever its logarithm's last bit.
    wanted = math.ceil(round(math.log(keep) / math.log(1 - TAKES), 6))
    merges = min(wanted, max(1, layers - 1))
    step = layers / (merges + 0.5)
    return [min(max(i + 1, int((i + 0.5) * step)), layers - 1) for i in range(merges)]


def _falling(tokens: int, target: int, steps: int, power: float) -> list[int]:
    """How many tokens there are, from `tokens` to `target`, their power falling by equal steps."""
    most, least = tokens**power, target**power
    return [round((most - (most - least) * n / steps) ** (1 / power)) for n in range(steps + 1)]


def _expand(r: RemovalSpec, layers: int) -> list[int]:
    if isinstance(r, Integral):
        return [r] * layers
    if is_inflected(r):
        mean, inflect = r
        step = 2 * inflect / max(layers - 1, 1)
        return [int(mean * (1 - inflect + step * layer) + 0.5) for layer in range(layers)]
    if len(r) != layers:
        raise MergingError(
            f'r: a list of {len(r)} numbers for an encoder of {layers} layers; '
            'give one number a layer'
        )
    return list(r)


def is_inflected(r: RemovalSpec) -> bool:
    """Whether r is (r, inflect): a pair whose second number is a float."""
    return isinstance(r, tuple) and len(r) == 2 and isinstance(r[1], float)


def alpha_at(alpha: Alpha, layer: int, layers: int) -> float:
    """Weight of the semantic score in this layer (ToSA, arXiv 2506.20066)."""
    depth = layer / max(layers - 1, 1)
    if isinstance(alpha, str):
        return {'increase': depth, 'uniform': 0.5, 'decrease': 1 - depth, 'spatial': 0.0}[alpha]
    if isinstance(alpha, Real):
        return float(alpha)
    if len(alpha) != layers:
        raise MergingError(
            f'alpha: a list of {len(alpha)} weights for an encoder of {layers} layers; '
            'give one a layer'
        )
    return float(alpha[layer])
