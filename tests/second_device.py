"""A device beside the CPU, on a machine that has none: its tensors are CPU tensors in a wrapper.

As on a GPU, an operation on tensors of two devices fails, and whatever brings values to the CPU is
a wait: `second_device()` yields the list of those.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = 'elsewhere'
# Torch's tags mark the operations that read values, except these.
TAGS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
READS = ('aten.is_nonzero.default', 'aten.where.default')
waits: list[str] = []


class Elsewhere(Tensor):
    """`inner`, a CPU tensor, on the second device."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Elsewhere:
        wrapper = Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=f'{NAME}:0',
        )
        wrapper.inner = inner
        return wrapper

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        return _run(op, args, kwargs or {})


class _Operations(TorchDispatchMode):
    """For operations that have no tensor yet, such as torch.arange."""

    def __torch_dispatch__(self, op: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        return _run(op, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """For those that torch does not hand to dispatch."""

    def __torch_function__(self, f: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if f is torch.tensor and _is_second(kwargs.get('device')):
            return Elsewhere(f(*args, **kwargs | {'device': 'cpu'}))
        if f is Tensor.tolist and isinstance(args[0], Elsewhere):
            waits.append('tolist')
            return args[0].inner.tolist()
        return f(*args, **kwargs)


@contextmanager
def second_device() -> Iterator[list[str]]:
    """Within, torch.device('elsewhere') is to be had; yields the waits so far."""
    if not hasattr(torch, NAME):
        backend_registration._setup_privateuseone_for_python_backend(NAME)
        # It stays for the process; gradient checkpointing asks every backend.
        getattr(torch, NAME).get_amp_supported_dtype = list
    waits.clear()
    with _Operations(), _Functions(), torch.inference_mode():
        yield waits


def moved(module: nn.Module) -> nn.Module:
    """The module with its weights and buffers on the second device."""
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None:
                part._parameters[name] = nn.Parameter(Elsewhere(weight.data), requires_grad=False)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = Elsewhere(buffer)
    return module


def _is_second(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


def _reads(op: Any, args: tuple, kwargs: dict) -> bool:
    """Whether an operation's result, or its shape, depends on values."""
    name = op.overloadpacket.__name__
    if name in ('index', 'index_put', 'index_put_'):
        return any(x is not None and x.dtype == torch.bool for x in args[1])
    if name == 'repeat_interleave' and any(isinstance(x, Tensor) for x in args[1:]):
        return kwargs.get('output_size') is None
    return str(op) in READS or not TAGS.isdisjoint(op.tags)


def _run(op: Any, args: tuple, kwargs: dict) -> Any:
    leaves = tree_leaves((args, kwargs))
    tensors = [x for x in leaves if isinstance(x, Tensor)]
    second = [x for x in tensors if isinstance(x, Elsewhere)]
    name = op.overloadpacket.__name__
    moves = name in ('_to_copy', 'to', 'copy_')
    # As on a GPU, a CPU tensor of no dimension is a number.
    first = [x for x in tensors if not isinstance(x, Elsewhere) and x.dim()]
    if second and first and not moves:
        shapes = [[tuple(x.shape) for x in group] for group in (first, second)]
        raise AssertionError(f'{op}: {shapes[0]} on the CPU, {shapes[1]} on the second device')
    device = next((x for x in leaves if isinstance(x, torch.device)), None)
    if device is not None:
        goes = _is_second(device)
    else:
        goes = isinstance(args[0], Elsewhere) if name == 'copy_' else bool(second)
    if second and (_reads(op, args, kwargs) or (moves and not goes)):
        waits.append(str(op))

    def inner(x: Any) -> Any:
        if isinstance(x, Elsewhere):
            return x.inner
        return torch.device('cpu') if isinstance(x, torch.device) else x

    out = op(*tree_map(inner, args), **tree_map(inner, kwargs))
    # In-place operations return the tensor they were given.
    given = {id(x.inner): x for x in second}

    def outer(x: Any) -> Any:
        if not (goes and isinstance(x, Tensor)):
            return x
        return given[id(x)] if id(x) in given else Elsewhere(x)

    return tree_map(outer, out)
