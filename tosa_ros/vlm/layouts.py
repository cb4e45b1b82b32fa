"""How several prompts lie in what the language model reads at a time: padded, or packed.

Both begin with `known` rows that all prompts share and that have been read before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tosa_ros.vlm.rows import PromptRows

SHARED = -1


class Padded:
    """A prompt a row of a batch, shorter ones with zeros in front that nothing looks at.

    What was read before must be there once for each prompt.
    """

    def __init__(self, prompts: Sequence[PromptRows], known: int) -> None:
        self.embeds = _left_padded([p.embeds[known:] for p in prompts])
        self._inputs: dict[str, Any] = {'inputs_embeds': self.embeds}
        self._positions = _left_padded([p.positions[known:] for p in prompts])
        mask = _left_padded([torch.ones_like(p.images[known:]) for p in prompts])
        self.mask = torch.cat([mask.new_ones(len(prompts), known), mask], dim=1)
        images = _left_padded([p.images[known:] for p in prompts])
        before = torch.stack([p.images[:known] for p in prompts])
        self._images = torch.cat([before, images], dim=1)
        # With nothing padded the kernel needs no mask.
        self._is_padded = not bool(self.mask.all())

    def step(self) -> dict[str, Any]:
        """What `Family.read` takes beside the model and the cache."""
        mask = self.mask if self._is_padded else None
        where = {'positions': self._positions, 'images': self._images}
        return {**where, **self._inputs, 'attention_mask': mask}

    def last(self, logits: Tensor) -> Tensor:
        """(prompts, V), of what was read."""
        return logits[:, -1]

    def take(self, tokens: Tensor) -> None:
        """The next token (prompts,) of each."""
        self._inputs = {'input_ids': tokens[:, None]}
        self._positions = self._positions[:, -1:] + 1
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], dim=1)
        self._images = torch.cat([self._images, self._images.new_zeros(len(tokens), 1)], dim=1)


class Packed:
    """All prompts one behind the other, each of whose rows sees what is shared and its own.

    What was read before is there once for all, and is not copied.
    """

    def __init__(self, prompts: Sequence[PromptRows], known: int) -> None:
        rows = [p.embeds[known:] for p in prompts]
        self._dtype = rows[0].dtype
        lengths = torch.tensor([len(one) for one in rows])
        ends = lengths.cumsum(0) - 1
        device = rows[0].device
        self._inputs: dict[str, Any] = {'inputs_embeds': torch.cat(rows)[None]}
        self._positions = torch.cat([p.positions[known:] for p in prompts])[None]
        self._images = torch.cat([p.images[known:] for p in prompts])
        self._images = torch.cat([prompts[0].images[:known], self._images])[None]
        each = torch.arange(len(prompts))
        self._each = each.to(device)
        before = torch.full((known,), SHARED)
        self._owners = torch.cat([before, each.repeat_interleave(lengths)]).to(device)
        self._ends = ends.to(device)

    def step(self) -> dict[str, Any]:
        """What `Family.read` takes beside the model and the cache."""
        rows, keys = self._positions.shape[1], len(self._owners)
        mine = self._owners[-rows:, None]
        sees = (self._owners == SHARED) | (self._owners == mine)
        sees &= torch.ones_like(sees).tril(keys - rows)
        mask = torch.zeros(sees.shape, dtype=self._dtype, device=sees.device)
        return {
            'positions': self._positions,
            'images': self._images,
            **self._inputs,
            'attention_mask': mask.masked_fill_(~sees, -torch.inf)[None, None],
            'logits_to_keep': self._ends,
        }

    def last(self, logits: Tensor) -> Tensor:
        """(prompts, V), of what was read."""
        return logits[0]

    def take(self, tokens: Tensor) -> None:
        """The next token (prompts,) of each."""
        self._inputs = {'input_ids': tokens[None]}
        self._positions = self._positions[:, self._ends] + 1
        self._owners = torch.cat([self._owners, self._each])
        self._images = torch.cat([self._images, self._images.new_zeros(1, len(tokens))], dim=1)
        self._ends = self._each


def _left_padded(rows: Sequence[Tensor]) -> Tensor:
    """Tensors (T, ...) of several lengths -> (B, longest, ...), zeros in front."""
    longest = max(len(r) for r in rows)
    padded = rows[0].new_zeros(len(rows), longest, *rows[0].shape[1:])
    for i, row in enumerate(rows):
        padded[i, longest - len(row) :] = row
    return padded
