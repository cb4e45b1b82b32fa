"""Evidence: which image tokens an answer looked at, by the attention of its prompt's last row.

The last row is the one that the first word is read from. Its attention is averaged over all heads
and layers: on the tiny world that falls on the thing asked about more than any other average that
needs no choice of layers (docs/models.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tosa_ros.errors import ModelError
from tosa_ros.vlm.rows import PromptRows
from tosa_ros.vlm.tokens import VisualTokens


@dataclass(frozen=True)
class Attended:
    """A token of the evidence.

    frame, token: its numbers. uv: the mean pixel of its patches. xyz: their mean point in metres
    in the camera's optical frame, NaN where unknown.
    """

    frame: int
    token: int
    weight: float
    uv: tuple[float, float]
    xyz: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Evidence:
    """How much of an answer's attention each visual token had.

    tokens: of each frame. weights: of each frame, (T',) float32 in the order of its tokens; they
    sum to 1 over all frames. share: of all attention, what went to image tokens at all; the rest
    went to words and to what a model writes around images.
    """

    tokens: tuple[VisualTokens, ...]
    weights: tuple[np.ndarray, ...]
    share: float

    def top(self, count: int = 5) -> list[Attended]:
        """The tokens with the largest weights, the largest first."""
        frames = np.repeat(np.arange(len(self.tokens)), [len(one) for one in self.tokens])
        starts = np.cumsum([0, *(len(one) for one in self.tokens)])
        weights = np.concatenate(self.weights)
        found = []
        for place in np.argsort(-weights, kind='stable')[:count]:
            frame = int(frames[place])
            token, seen = int(place - starts[frame]), self.tokens[frame]
            uv, xyz = (tuple(map(float, each[token])) for each in (seen.uv, seen.xyz))
            found.append(Attended(frame, token, float(weights[place]), uv, xyz))
        return found

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON: all weights, and the tokens with the largest."""
        return {
            'share': self.share,
            'weights': [one.tolist() for one in self.weights],
            'top': [asdict(one) for one in self.top()],
        }

    def patch_weights(self, frame: int) -> np.ndarray:
        """A frame's weights (N,) float32 by patch: a token's weight spread over its patches.

        In raster order; 0 where a patch was pruned.
        """
        source, weights = self.tokens[frame].source, self.weights[frame]
        kept = source >= 0
        members = np.bincount(source[kept], minlength=len(weights))
        spread = np.zeros(len(source), np.float32)
        spread[kept] = (weights / np.maximum(members, 1))[source[kept]]
        return spread


class LastRowAttention(TorchFunctionMode):
    """While it lasts, sums up what the last of `rows` rows attends to, layer by layer.

    Whatever attention a model of transformers computes by torch is seen: that of the fused
    kernel, whose weights for the one row are computed here once more, and a softmax of scores.
    """

    def __init__(self, rows: int, keys: int) -> None:
        super().__init__()
        self._rows, self._keys = rows, keys
        self._sum: Tensor | None = None
        self._layers = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            self._add(self._weights(*args[:2], kwargs.get('attn_mask'), kwargs['scale']))
        elif func is F.softmax and output.dim() == 4:
            self._add(output[:, :, -1:])
        return output

    def mean(self, layers: int) -> Tensor:
        """The mean over heads and layers, (B, keys) float32; each row sums to 1.

        Raises:
            ModelError: not all layers' attention could be seen.
        """
        if self._layers != layers:
            raise ModelError(
                f'evidence: the attention of {self._layers} of {layers} layers can be seen; '
                "wanted a model with torch's own attention in each (sdpa or eager)"
            )
        return self._sum / layers

    def _weights(self, query: Tensor, key: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        # transformers may lay the heads of one key where rows are, if there is one row.
        query = query if self._rows == 1 else query[:, :, -1:]
        batch, heads, _, width = key.shape
        scores = query.reshape(batch, heads, -1, width) @ key.transpose(-1, -2)
        scores = scores.float() * scale
        if mask is not None:
            mask = mask[:, :, -1:]
            if mask.dtype == torch.bool:
                mask = torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, -torch.inf)
            scores = scores + mask
        return scores.softmax(dim=-1)

    def _add(self, weights: Tensor) -> None:
        if weights.shape[-1] != self._keys:
            return
        weights = weights.float().mean(dim=(1, 2))
        self._sum = weights if self._sum is None else self._sum + weights
        self._layers += 1


def evidence_of(prompt: PromptRows, attention: Tensor) -> Evidence:
    """A prompt's evidence by what its last row attends to, (T,) over its rows."""
    weights = [attention[rows].cpu() for _, rows in prompt.token_rows]
    share = float(sum(one.double().sum() for one in weights))
    return Evidence(
        tuple(image for image, _ in prompt.token_rows),
        tuple((one / max(share, 1e-30)).numpy() for one in weights),
        share,
    )
