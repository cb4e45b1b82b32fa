"""Numbers that are not finite: found out cheaply, and explained by a second pass with hooks.

A half that overflows its type gives words like any other, or none; here it gives an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tosa_ros.errors import ModelError

_FIXES = {
    torch.float16: 'float16 holds nothing above 65504: try --dtype float32 or --dtype bfloat16',
    torch.bfloat16: 'try --dtype float32',
}
_DAMAGED = 'the checkpoint is damaged, or not made for this model: fetch it again'


class _FoundError(Exception):
    """Ends the second pass at the first module whose output is not finite."""


def is_finite(numbers: Tensor) -> bool:
    """Whether all of them are; costs one sum where they are."""
    return bool(numbers.sum().isfinite()) or bool(numbers.isfinite().all())


def not_finite(what: str, model: nn.Module, again: Callable[[], Any]) -> ModelError:
    """The error of a model whose result is not finite, with its type and the layer it began in.

    Args:
        what: how a message calls the model.
        again: runs it as before.
    """
    name = first_not_finite(model, again)
    dtype = next(model.parameters()).dtype
    if name is None:
        place, fix = 'in no layer, on a second pass', _FIXES.get(dtype, 'try again')
    elif _has_bad_weights(model.get_submodule(name)):
        place, fix = f'from the weights of {name or "the model"}', _DAMAGED
    else:
        place, fix = f'first in {name or "the model"}', _FIXES.get(dtype, _DAMAGED)
    kind = str(dtype).removeprefix('torch.')
    return ModelError(f'{what} computes numbers that are not finite in {kind}, {place}; {fix}')


def first_not_finite(model: nn.Module, run: Callable[[], Any]) -> str | None:
    """The name of the first module to end with an output that is not finite; None if all are."""
    found: list[str] = []

    def check(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if not all(bool(t.isfinite().all()) for t in _tensors(output)):
            found.append(name)
            raise _FoundError

    hooks = [
        module.register_forward_hook(partial(check, name))
        for name, module in model.named_modules()
    ]
    try:
        run()
    except _FoundError:
        return found[0]
    finally:
        for hook in hooks:
            hook.remove()
    return None


def _has_bad_weights(module: nn.Module) -> bool:
    weights = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return not all(bool(w.isfinite().all()) for w in weights)


def _tensors(output: Any) -> Iterator[Tensor]:
    """The tensors of real numbers in what a module returned."""
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, Mapping):
        yield from _tensors(list(output.values()))
    elif isinstance(output, list | tuple):
        for one in output:
            yield from _tensors(one)
