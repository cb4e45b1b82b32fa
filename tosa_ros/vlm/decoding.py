"""Decoder: prompts -> utterances, step by step, by what the language model has read before."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from tosa_ros.errors import ModelError
from tosa_ros.vlm.evidence import LastRowAttention
from tosa_ros.vlm.families.base import Family
from tosa_ros.vlm.finite import first_not_finite, is_finite, not_finite
from tosa_ros.vlm.layouts import Packed, Padded
from tosa_ros.vlm.prefix import PrefixCache, shared_rows
from tosa_ros.vlm.rows import PromptRows
from tosa_ros.vlm.tokens import VisualTokens
from tosa_ros.vlm.utterance import Utterance

# Kinds of attention that take a mask of any shape.
TAKES_ANY_MASK = ('sdpa', 'eager')
# Times as many rows of their own as prompts share: beyond, they look too far for nothing.
WORTH = 2


class _StoppedError(Exception):
    """Asked to stop in the middle of a step."""


class Decoder:
    """Runs one language model. Not for several threads at once.

    words: rows (n, D) of words by their ids (n,).
    """

    def __init__(
        self,
        model: PreTrainedModel,
        family: Family,
        words: Callable[[Tensor], Tensor],
    ) -> None:
        self.model = model
        self.family = family
        self.prefix = PrefixCache(model.config, family.causal)
        self._words = words
        self._stop: Callable[[], bool] = lambda: False
        for layer in model.get_decoder().layers:
            layer.register_forward_pre_hook(self._stop_here)

    def steps(
        self,
        prompts: list[PromptRows],
        utterances: list[Utterance],
        max_new_tokens: int,
        attention: list[Tensor] | None = None,
    ) -> Iterator[int]:
        """Says a token of each prompt's utterance at a time; their number, until all have ended.

        attention: gets, with the first step, what each prompt's last row attends to: (T,) float32
        over its rows, the mean over heads and layers.
        """
        cache, known, layout = self._read_before(prompts, attention is not None)
        whole = True
        try:
            yield from self._say(prompts, utterances, cache, layout, max_new_tokens, attention)
        except _StoppedError:
            whole = False  # Some layers have read on, and some have not.
        except Exception:
            whole = False
            raise
        finally:
            first = prompts[0].keys
            if whole and len(prompts) == 1 and cache.get_seq_length() >= len(first):
                self.prefix.give([*first, *_said(prompts[0], utterances[0])], cache)
            elif whole and isinstance(layout, Packed):
                self.prefix.give(first[:known], cache)

    def _read_before(
        self, prompts: list[PromptRows], watched: bool
    ) -> tuple[DynamicCache, int, Padded | Packed]:
        """Keys and values of what the prompts share, once for all, and how many rows it is."""
        shortest = min(len(p) for p in prompts)
        shared = min(shared_rows([p.keys for p in prompts]), shortest - 1)
        keys = prompts[0].keys[:shared]
        if len(prompts) == 1:
            cache, known = self.prefix.take(keys)
            return cache, known, Padded(prompts, known)
        seen = any(isinstance(key, VisualTokens) for key, _ in keys)
        if not (seen and self.prefix.reuse):
            return DynamicCache(config=self.model.config), 0, Padded(prompts, 0)
        cache, known = self.prefix.take(keys)
        if known < shared:
            self.family.read(
                self.model,
                prompts[0].positions[None, known:shared],
                prompts[0].images[None, :shared],
                inputs_embeds=prompts[0].embeds[None, known:shared],
                past_key_values=cache,
            )
        if not watched and self._packs(prompts, shared):
            return cache, shared, Packed(prompts, shared)
        each = copy.deepcopy(cache)
        each.batch_repeat_interleave(len(prompts))
        self.prefix.give(keys, cache)
        return each, shared, Padded(prompts, shared)

    def _packs(self, prompts: list[PromptRows], shared: int) -> bool:
        """Whether prompts are read faster one behind the other than each with its own copy."""
        own = sum(len(p) - shared for p in prompts)
        if self.model.config._attn_implementation not in TAKES_ANY_MASK or own > shared * WORTH:
            return False
        return not any(bool(p.images[shared:].any()) for p in prompts)

    def _say(
        self,
        prompts: list[PromptRows],
        utterances: list[Utterance],
        cache: DynamicCache,
        layout: Padded | Packed,
        max_new_tokens: int,
        attention: list[Tensor] | None,
    ) -> Iterator[int]:
        read: list[Tensor] = []
        watch = None
        if attention is not None and isinstance(layout, Padded):
            watch = LastRowAttention(layout.embeds.shape[1], layout.mask.shape[1])
        for number in range(max_new_tokens):
            with watch or contextlib.nullcontext():
                output = self.family.read(self.model, **layout.step(), past_key_values=cache)
            logits = layout.last(output)
            if watch is not None:
                mean, watch = watch.mean(len(self.model.get_decoder().layers)), None
                attention += [
                    row[seen] for row, seen in zip(mean, layout.mask.bool(), strict=True)
                ]
            best, likeliest = logits.max(dim=-1)
            if not is_finite(best):
                raise self._not_finite(prompts, read)
            said = zip(utterances, logits, likeliest.tolist(), strict=True)
            token = torch.tensor([one.say(*by) for one, *by in said]).to(likeliest.device)
            read.append(token)
            if all(one.ended for one in utterances):
                return
            yield number
            layout.take(token)

    def _not_finite(self, prompts: list[PromptRows], read: list[Tensor]) -> ModelError:
        """Why logits are not finite, by the prompts and the words that were read."""
        for number, prompt in enumerate(prompts):
            rows = zip(prompt.keys, prompt.embeds.isfinite().all(dim=-1).tolist(), strict=True)
            if any(isinstance(key, VisualTokens) and not good for (key, _), good in rows):
                return ModelError(
                    'visual tokens that are not finite came to the language model: the vision '
                    'half overflows its type; try --dtype float32 there'
                )
            words = [ids[number : number + 1] for ids in read]
            again = partial(self._read_anew, prompt, words)
            if first_not_finite(self.model, again) is not None:
                break
        return not_finite('the language model', self.model, again)

    def _read_anew(self, prompt: PromptRows, words: list[Tensor]) -> None:
        """Reads a prompt and the words behind it, all at once."""
        last = prompt.positions[-1:]
        positions = [prompt.positions, *(last + n for n in range(1, len(words) + 1))]
        rows = [self._words(ids) for ids in words]
        self.family.read(
            self.model,
            torch.cat(positions)[None],
            torch.cat([prompt.images, prompt.images.new_zeros(len(words))])[None],
            inputs_embeds=torch.cat([prompt.embeds, *rows])[None],
            past_key_values=DynamicCache(config=self.model.config),
        )

    @contextlib.contextmanager
    def stopping(self, stop: Callable[[], bool]) -> Iterator[None]:
        """While it lasts, each layer asks `stop` first; True ends the steps there."""
        self._stop = stop
        try:
            yield
        finally:
            self._stop = lambda: False

    def _stop_here(self, *_: object) -> None:
        if self._stop():
            raise _StoppedError


def _said(prompt: PromptRows, utterance: Utterance) -> Iterator[tuple[Any, Any]]:
    """The keys of rows for the words behind a prompt."""
    _, last = prompt.keys[-1]
    for number, word in enumerate(utterance.ids, start=1):
        axes = tuple(place + number for place in last) if isinstance(last, tuple) else None
        yield word, axes or last + number
