"""How many requests are answered at once: as many as was said, or as fit into memory."""

from __future__ import annotations

import math

import torch
from transformers import PreTrainedModel

from tosa_ros.devices import free_memory
from tosa_ros.errors import QuestionError
from tosa_ros.settings import AUTO

MOST = 64  # requests; more hardly gain anything, and answers come later
SHARE = 0.4  # of the memory that is free at the start
COPIES = 3  # of keys and values: of the frames alone, of each request, and while they grow
ACTIVATIONS = 6  # rows as wide as the feed-forward layer that a layer has at once


class Fit:
    """A batch's limit, in requests and, where it is found out here, in tokens.

    size: requests, or 'auto'. model: the language model, None where it is in no hand of ours.
    Of 'auto' a batch that memory cannot hold halves the limit.
    """

    def __init__(self, size: int | str, model: PreTrainedModel | None, new_tokens: int) -> None:
        whole = isinstance(size, int) and not isinstance(size, bool) and size >= 1
        if size != AUTO and not whole:
            raise QuestionError(f'batch_size: {size!r}; wanted {AUTO!r} or a number from 1 on')
        self.is_auto = size == AUTO
        self.requests = MOST if self.is_auto else int(size)
        self._new_tokens = new_tokens
        self._tokens = math.inf
        if self.is_auto and model is not None:
            free = free_memory(model.device)
            if free is not None:
                self._tokens = SHARE * free / bytes_per_token(model)

    def takes(self, lengths: list[int]) -> bool:
        """Whether prompts of these lengths (tokens of their frames) are one batch."""
        padded = len(lengths) * (max(lengths) + self._new_tokens)
        return len(lengths) <= self.requests and (len(lengths) == 1 or padded <= self._tokens)

    def halve(self, tried: int) -> None:
        """After a batch of `tried` requests did not fit."""
        self.requests = min(self.requests, max(1, tried // 2))


def bytes_per_token(model: PreTrainedModel) -> float:
    """Memory that a token of a prompt takes while the language model reads it, about."""
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    width = getattr(config, 'head_dim', None) or config.hidden_size // heads
    keys = getattr(config, 'num_key_value_heads', None) or heads
    kept = 2 * config.num_hidden_layers * keys * width * COPIES
    passing = ACTIVATIONS * getattr(config, 'intermediate_size', 4 * config.hidden_size)
    return (kept + passing) * model.dtype.itemsize


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch could not get the memory that it wanted, on a GPU or a CPU."""
    return isinstance(error, torch.OutOfMemoryError) or 'allocate memory' in str(error)
