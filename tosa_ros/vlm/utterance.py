"""Utterance: one answer in the making, token by token."""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import Tensor
from transformers import TemperatureLogitsWarper, TopPLogitsWarper

from tosa_ros.vlm.options import Answering


class Utterance:
    """Chooses tokens by their logits, knows when they end, and what may be shown of them.

    ids: the tokens so far, without the one that ended them. end_ids: tokens that do. text_of:
    the words of tokens.
    """

    def __init__(
        self, options: Answering, end_ids: Collection[int], text_of: Callable[[list[int]], str]
    ) -> None:
        self.ids: list[int] = []
        self.ended = False
        self._end_ids, self._text_of = end_ids, text_of
        self._stops = options.stop_strings
        self._warpers = []
        if options.temperature > 0:
            # As transformers does it, so that the same draws give the same words.
            self._warpers.append(TemperatureLogitsWarper(float(options.temperature)))
            if options.top_p < 1:
                self._warpers.append(TopPLogitsWarper(float(options.top_p)))
            self._random = torch.Generator().manual_seed(options.seed)

    def say(self, logits: Tensor, likeliest: int) -> int:
        """Takes the next token, by the logits (V,) of all, of which this is the likeliest."""
        token = self._drawn(logits) if self._warpers else likeliest
        if self.ended:
            return token
        self.ended = token in self._end_ids
        if not self.ended:
            self.ids.append(token)
            self.ended = self._stop() is not None
        return token

    def text(self) -> str:
        """The words, up to a stop string."""
        whole = self._text_of(self.ids)
        return whole[: self._stop(whole)].strip()

    def shown(self) -> str:
        """What of the words will stay as it is, whatever follows.

        Trailing spaces, half characters and what may become a stop string wait.
        """
        whole = self._text_of(self.ids)
        stop = self._stop(whole)
        if stop is None:
            whole = whole.rstrip('\ufffd')
            stop = len(whole) - max(
                (n for s in self._stops for n in range(1, len(s)) if whole.endswith(s[:n])),
                default=0,
            )
        return whole[:stop].lstrip().rstrip()

    def _stop(self, text: str | None = None) -> int | None:
        """Where the first stop string begins; None where there is none."""
        if not self._stops:
            return None
        text = self._text_of(self.ids) if text is None else text
        return min((i for s in self._stops if (i := text.find(s)) >= 0), default=None)

    def _drawn(self, logits: Tensor) -> int:
        scores = logits[None].float().cpu()
        for warper in self._warpers:
            scores = warper(None, scores)
        return int(torch.multinomial(scores.softmax(dim=-1), 1, generator=self._random))
