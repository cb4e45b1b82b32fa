"""How many tokens each layer removes, and how much each layer listens to semantics.

Plain Python: schedules depend on the number of tokens and layers only, never on their values,
so shapes are static and nothing here synchronises with a device.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tosa_ros.errors import MergingError

RemovalSpec = int | Sequence[int] | tuple[int, float]
MergeAt = int | Sequence[int]

ALPHA_SCHEDULES = ('increase', 'uniform', 'decrease', 'spatial')


def check_keep(keep: float) -> None:
    """Raises MergingError unless 0 < keep <= 1."""
    if not isinstance(keep, int | float) or isinstance(keep, bool) or not 0 < keep <= 1:
        raise MergingError(
            f'keep: {keep!r}; wanted a fraction of tokens to keep, above 0 and at most 1'
        )


def removals(
    tokens: int, layers: int, keep: float | None, r: RemovalSpec | None, merge_at: MergeAt = 1
) -> list[int]:
    """Patch tokens to remove in each of `layers` layers.

    With `keep`, round(keep * tokens), and at least one, are left, and the layers share the work
    evenly. `merge_at` n lets every n-th layer do it for n; as it is the middle one of its n, the
    layers read as many tokens on average. A list of layers does the same for any layers: each
    removes what its neighbours, halfway to the next of the list, would have.
    With `r`: an int, the same in every layer; a list, one a layer; (r, inflect) with a
    float inflect, linear from r (1 - inflect) to r (1 + inflect). With `r` a layer removes at
    most half of what it has, as one bipartite matching can.
    """
    if r is None:
        target = max(1, round(keep * tokens))
        plan, done = [0] * layers, 0
        for layer, end in _shares(layers, merge_at):
            now = round((tokens - target) * end / layers)
            plan[layer], done = now - done, now
        return plan
    wanted = _expand(r, layers)
    plan = []
    for count in wanted:
        plan.append(min(count, tokens // 2))
        tokens -= plan[-1]
    return plan


def _shares(layers: int, merge_at: MergeAt) -> list[tuple[int, float]]:
    """(layer, up to where in 0..layers it does the work of the layers around it)."""
    if isinstance(merge_at, int):
        first = min((merge_at - 1) // 2, layers - 1)
        at = range(first, layers, merge_at)
        ends = [merge_at * (i + 1) for i in range(len(at) - 1)]
        return list(zip(at, [*ends, layers], strict=True))
    if merge_at[-1] >= layers:
        raise MergingError(
            f'merge_at: layer {merge_at[-1]} of an encoder whose layers are 0..{layers - 1}'
        )
    ends = [(here + following + 1) / 2 for here, following in pairwise(merge_at)]
    return list(zip(merge_at, [*ends, layers], strict=True))


def _expand(r: RemovalSpec, layers: int) -> list[int]:
    if isinstance(r, int):
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


def check_r(r: RemovalSpec) -> None:
    """Raises MergingError unless r is an int, a list of ints, or (int, float inflect)."""
    if is_inflected(r):
        numbers, inflect = [r[0]], r[1]
        good = -1 <= inflect <= 1
    else:
        numbers = [r] if isinstance(r, int) else list(r)
        good = True
    if not good or not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise MergingError(
            f'r: {r!r}; wanted tokens to remove a layer: a number >= 0, a list of them, or '
            '(r, inflect) with inflect a float in -1..1'
        )


def check_merge_at(merge_at: MergeAt) -> None:
    """Raises MergingError unless merge_at is a step >= 1 or a rising list of layers."""
    layers = [merge_at - 1] if isinstance(merge_at, int) else list(merge_at)
    whole = all(isinstance(n, int) and n >= 0 for n in layers)
    if not layers or not whole or any(a >= b for a, b in pairwise(layers)):
        raise MergingError(
            f'merge_at: {merge_at!r}; wanted n >= 1, to merge in every n-th layer, or a '
            'rising list of layers, 0 the first'
        )


def is_inflected(r: RemovalSpec) -> bool:
    """Whether r is (r, inflect): a pair whose second number is a float."""
    return isinstance(r, tuple) and len(r) == 2 and isinstance(r[1], float)


def check_alpha(alpha: str | Sequence[float]) -> None:
    """Raises MergingError unless alpha names a schedule or lists weights in 0..1."""
    if isinstance(alpha, str):
        if alpha in ALPHA_SCHEDULES:
            return
    elif len(alpha) and all(0 <= a <= 1 for a in alpha):
        return
    raise MergingError(
        f'alpha: {alpha!r}; wanted one of {", ".join(ALPHA_SCHEDULES)}, or a list of weights of '
        'the semantic score in 0..1, one a layer'
    )


def alpha_at(alpha: str | Sequence[float], layer: int, layers: int) -> float:
    """Weight of the semantic score in this layer (ToSA, arXiv 2506.20066)."""
    depth = layer / max(layers - 1, 1)
    if isinstance(alpha, str):
        return {'increase': depth, 'uniform': 0.5, 'decrease': 1 - depth, 'spatial': 0.0}[alpha]
    if len(alpha) != layers:
        raise MergingError(
            f'alpha: a list of {len(alpha)} weights for an encoder of {layers} layers; '
            'give one a layer'
        )
    return float(alpha[layer])
