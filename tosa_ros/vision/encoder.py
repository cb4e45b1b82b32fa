"""merge_tokens: a loaded encoder whose layers merge tokens between attention and MLP.

The layers' own modules do all the arithmetic; only their `forward` is replaced, on the
instances, and `remove` puts it back. Weights are neither copied nor touched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from tosa_ros.errors import VisionError
from tosa_ros.merging import MergeState, MergingMethod, merge_layer, unmerge
from tosa_ros.spatial import SpatialTokens
from tosa_ros.vision.adapters import Adapter, adapter_for
from tosa_ros.vision.padding import PaddedState, can_measure, lengths_of
from tosa_ros.vision.run import Passed, Run

GRAPHS = 64  # of one compiled encoder
MASKS = ('attention_mask', 'attn_mask')


@dataclass(frozen=True)
class MergedTokens:
    """An encoder's output for B images of N patches, T' of them left, in raster order.

    In a padded batch N and T' are those of the largest image. Padding has size 0, source -1,
    nearest 0 and xyz NaN.


    tokens (B, T', D): patch tokens after the last layer, before any final norm.
    class_tokens (B, P, D): class and register tokens; P may be 0.
    size (B, T'): patches each token stands for. source (B, N): each patch's token, -1 if pruned.
    nearest (B, N): the same, but a pruned patch's is the token it was most like when it went.
    xyz (B, T', 3): mean of the patches' points in metres, NaN where none is known; or None.
    output: what the encoder itself returned.
    """

    tokens: Tensor
    class_tokens: Tensor
    size: Tensor
    source: Tensor
    xyz: Tensor | None
    nearest: Tensor
    output: Any = None

    def unmerge(self, fill: float | str = float('nan')) -> Tensor:
        """Dense tokens (B, N, D): every patch gets its token's vector, a pruned one `fill`.

        fill: a number, or 'nearest': the vector of the token that a pruned patch was most like.
        """
        if isinstance(fill, str) and fill != 'nearest':
            raise VisionError(f"fill: {fill!r}; wanted 'nearest' or a number")
        return unmerge(self.tokens, self.source, self.nearest if fill == 'nearest' else fill)


class MergedEncoder:
    """Handle of an encoder that merges; made by `merge_tokens`.

    `method` may be set at any time between calls. Calling the encoder itself works too (without
    spatial tokens); the tokens of the latest call are in `latest`.
    """

    def __init__(
        self, model: nn.Module, method: MergingMethod, adapter: type[Adapter] | None = None
    ) -> None:
        if getattr(model, '_tosa_merged', None) is not None:
            raise VisionError(
                f'{type(model).__name__} already merges tokens: set .method of its handle, or '
                'remove() it first'
            )
        implementation = getattr(getattr(model, 'config', None), '_attn_implementation', 'sdpa')
        if not weighs_tokens(implementation):
            raise VisionError(
                f'the encoder was loaded with attn_implementation={implementation!r}, which '
                "cannot weight tokens by size: load it with attn_implementation='sdpa'"
            )
        self.model = model
        self.method = method
        self.adapter: Adapter = adapter_for(model) if adapter is None else adapter(model)
        self.latest: MergedTokens | None = None
        self._layers = self.adapter.layers
        self._stands = type(self.adapter).standing is not Adapter.standing
        self._run, self._passed = Run(), Passed()
        self._taps = [self.adapter.tap(layer, self._run.receive) for layer in self._layers]
        self._taps += [
            head.register_forward_pre_hook(self._shorten_mask) for head in self.adapter.heads
        ]
        self._originals = [layer.forward for layer in self._layers]
        for index, layer in enumerate(self._layers):
            layer.forward = partial(self._forward, index, layer.forward)
        model._tosa_merged = self

    def __call__(self, *args: Any, spatial: SpatialTokens | None = None, **kwargs: Any) -> Any:
        """Runs the encoder on its own arguments -> MergedTokens.

        spatial: of the same images, on the encoder's patch grid; only ToSA matches with it, and
        every method reports `xyz` by it.
        """
        self._run.spatial = spatial
        try:
            output = self.model(*args, **kwargs)
        finally:
            self._run.spatial = None
        self.latest = replace(self.latest, output=output)
        return self.latest

    def compile(self) -> None:
        """Has torch.compile speed up the encoder, on a GPU by CUDA graphs.

        Each method, each shape of images and each kind of spatial tokens is compiled when it comes
        first, which takes from many seconds to minutes; what came before runs at once.
        """
        device = next(self.model.parameters()).device.type
        # Every method is a graph of its own: more of them than the compiler expects of one model.
        limit = torch._dynamo.config.recompile_limit
        torch._dynamo.config.recompile_limit = max(limit, GRAPHS)
        mode = 'reduce-overhead' if device == 'cuda' else None
        self.model = torch.compile(self.model, mode=mode, fullgraph=True, dynamic=False)

    def remove(self) -> None:
        """Gives the encoder back as it was."""
        for tap in self._taps:
            tap.remove()
        for layer, original in zip(self._layers, self._originals, strict=True):
            if getattr(original, '__self__', None) is layer:
                del layer.forward
            else:
                layer.forward = original
        model = getattr(self.model, '_orig_mod', self.model)  # what torch.compile was given
        model._tosa_merged = None
        del model._tosa_merged

    def __enter__(self) -> MergedEncoder:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()

    def __getstate__(self) -> dict[str, Any]:
        # Copies have no latest tokens: with gradients, those cannot be copied.
        return {**self.__dict__, 'latest': None, '_passed': Passed()}

    def _forward(
        self, index: int, original: Callable, x: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        """What layer `index` runs; a method, so that a deep copy runs its own layers."""
        run, compute = self._run, partial(self._layer, index, original, args, kwargs)
        compiling = torch.compiler.is_compiling()
        then = None if compiling else self._passed.before(x)
        if then is not None:
            with run.as_before(then):
                return compute(x)
        if index == 0:
            self._start(x, _mask_of(args, kwargs))
        run.check_turn(index)
        if not compiling:
            self._passed.note(x, run)
        x = self._checkpointed(index, compute, x)
        run.next = index + 1
        if run.next == len(self._layers):
            self.latest = self._result(x)
        return x

    def _checkpointed(self, index: int, compute: Callable, x: Tensor) -> Tensor:
        """compute(x), under transformers' gradient checkpointing where that is on and stands in
        the layer's own forward, which does not run when tokens merge."""
        layer = self._layers[index]
        asked = layer.training and getattr(layer, 'gradient_checkpointing', False)
        if not (asked and self._run.merges) or type(layer).__call__ is not nn.Module.__call__:
            return compute(x)

        def once_or_again(x: Tensor) -> Tensor:
            then = self._passed.before(x)
            if then is None:
                self._run.check_turn(index)
                return compute(x)
            with self._run.as_before(then):
                return compute(x)

        return layer._gradient_checkpointing_func(once_or_again, x)

    def _layer(
        self, index: int, original: Callable, args: tuple, kwargs: dict, x: Tensor
    ) -> Tensor:
        """The layer itself; behind the last one, tokens are in raster order."""
        run = self._run
        if not run.merges:
            return original(x, *args, **kwargs)
        kwargs = {name: value for name, value in kwargs.items() if name not in MASKS}
        # Patches come as a transposed view of a convolution's output, and every sum of the
        # residual stream would inherit that layout, which slows each of them down.
        x = self._merging_layer(index, self._layers[index], x.contiguous(), kwargs)
        if index == len(self._layers) - 1:
            x, run.state = run.state.in_raster_order(x)
        return x

    def _merging_layer(self, index: int, layer: nn.Module, x: Tensor, kwargs: dict) -> Tensor:
        run = self._run
        if run.middle is not None:
            kwargs = self.adapter.standing(run.middle, kwargs)
        x = self.adapter.attend(layer, x, run.bias, **kwargs)
        remove = run.plan[index]
        if remove:
            keys = self.adapter.keys(layer, run.keys)
            where = {'layer': index, 'layers': len(self._layers)}
            if isinstance(run.state, PaddedState):
                x, run.state = run.state.merge(run.method, x, keys, remove, **where)
            else:
                x, run.state = merge_layer(run.method, x, keys, run.state, remove=remove, **where)
            run.bias = run.state.bias(x.dtype, run.method.proportional)
            run.middle = run.state.middle if self._stands else None
        run.keys = None
        return self.adapter.feed(layer, x)

    def _start(self, x: Tensor, mask: Any) -> None:
        run, protected = self._run, self.adapter.protected
        patches = x.shape[1] - protected
        spatial = run.spatial
        if spatial is not None and tuple(spatial.weight.shape) != (x.shape[0], patches):
            raise VisionError(
                f'spatial tokens for {spatial.weight.shape[0]} images of '
                f'{spatial.weight.shape[1]} patches, but the encoder sees {x.shape[0]} images of '
                f'{patches}; make them on its patch grid'
            )
        run.next = 0
        # Another thread may set the method meanwhile: one run has one.
        run.method = method = self.method
        if method.where == 'output':
            raise VisionError(
                "where: 'output', but an encoder alone merges in its layers: merge its tokens by "
                "merge_output, or leave where at 'auto'"
            )
        run.bias = run.keys = run.middle = None
        run.plan = method.removals(patches, len(self._layers))
        run.merges = any(run.plan)
        lengths = None
        if mask is not None and (run.merges or can_measure(mask)):
            lengths = lengths_of(mask)
        if lengths is None:
            run.state = MergeState.start(x, protected, spatial, method.spatial_aware)
            return
        plans = [method.removals(length - protected, len(self._layers)) for length in lengths]
        run.plan = [remove if any(remove) else None for remove in zip(*plans, strict=True)]
        run.merges = any(run.plan)
        run.state = PaddedState.start(x, lengths, protected, spatial, method.spatial_aware)
        run.bias = run.state.bias(x.dtype)

    def _shorten_mask(self, head: nn.Module, args: tuple) -> tuple:
        """Arguments of a head, its mask of patches (B, N) as one of the tokens that are left."""
        tokens, mask, *rest = args
        if mask is None or mask.shape[1] == tokens.shape[1]:
            return args
        return (tokens, (self.latest.size > 0).to(mask.dtype), *rest)

    def _result(self, x: Tensor) -> MergedTokens:
        """What is left after the last layer, x (B, protected + T', D)."""
        run, protected, state = self._run, self.adapter.protected, self._run.state
        run.state = run.bias = run.middle = None
        return MergedTokens(
            tokens=x[:, protected:],
            class_tokens=x[:, :protected],
            size=state.size[:, protected:],
            source=(state.source - protected).clamp(min=-1) if protected else state.source,
            xyz=state.xyz,
            nearest=state.home - protected if protected else state.home,
        )


def merge_tokens(
    model: nn.Module, method: MergingMethod, *, adapter: type[Adapter] | None = None
) -> MergedEncoder:
    """Makes a loaded vision encoder merge tokens by `method`; `.remove()` undoes it.

    The tokens left after the last layer are round(keep * N) of N patches, in raster order.
    adapter: by default the one of ADAPTERS that knows the encoder; where none does, VisionError
    lists the encoders that are supported.
    """
    return MergedEncoder(model, method, adapter)


def weighs_tokens(implementation: str | None) -> bool:
    """Whether attention of this name, as transformers has it, can weight tokens by their size.

    Flash attention takes no bias. Flex attention reads one by row and column, and torch's kernel
    for CPUs then writes outside of its memory.
    """
    return not any(kind in str(implementation) for kind in ('flash', 'flex'))


def _mask_of(args: tuple, kwargs: dict) -> Any:
    """The mask in a layer's arguments; encoders only mask padding."""
    masks = [*args, *(kwargs[name] for name in MASKS if name in kwargs)]
    return next((mask for mask in masks if mask is not None), None)
