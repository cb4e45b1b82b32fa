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
from tosa_ros.vlm.prefix import PrefixCache, shared_rows
from tosa_ros.vlm.rows import PromptRows
from tosa_ros.vlm.tokens import VisualTokens
from tosa_ros.vlm.utterance import Utterance


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
        cache, known = self._read_before(prompts)
        whole = True
        try:
            yield from self._say(prompts, utterances, cache, known, max_new_tokens, attention)
        except _StoppedError:
            whole = False  # Some layers have read on, and some have not.
        except Exception:
            whole = False
            raise
        finally:
            if whole and len(prompts) == 1 and cache.get_seq_length() >= len(prompts[0]):
                self.prefix.give([*prompts[0].keys, *_said(prompts[0], utterances[0])], cache)

    def _read_before(self, prompts: list[PromptRows]) -> tuple[DynamicCache, int]:
        """Keys and values of what the prompts share, once for all, and how many rows it is."""
        shortest = min(len(p) for p in prompts)
        shared = min(shared_rows([p.keys for p in prompts]), shortest - 1)
        keys = prompts[0].keys[:shared]
        if len(prompts) == 1:
            return self.prefix.take(keys)
        seen = any(isinstance(key, VisualTokens) for key, _ in keys)
        if not (seen and self.prefix.reuse):
            return DynamicCache(config=self.model.config), 0
        cache, known = self.prefix.take(keys)
        if known < shared:
            self.family.read(
                self.model,
                prompts[0].positions[None, known:shared],
                prompts[0].images[None, :shared],
                inputs_embeds=prompts[0].embeds[None, known:shared],
                past_key_values=cache,
            )
        each = copy.deepcopy(cache)
        each.batch_repeat_interleave(len(prompts))
        self.prefix.give(keys, cache)
        return each, shared

    def _say(
        self,
        prompts: list[PromptRows],
        utterances: list[Utterance],
        cache: DynamicCache,
        known: int,
        max_new_tokens: int,
        attention: list[Tensor] | None,
    ) -> Iterator[int]:
        embeds = _left_padded([p.embeds[known:] for p in prompts])
        positions = _left_padded([p.positions[known:] for p in prompts])
        mask = _left_padded([torch.ones_like(p.images[known:]) for p in prompts])
        mask = torch.cat([mask.new_ones(len(prompts), known), mask], dim=1)
        images = _left_padded([p.images[known:] for p in prompts])
        images = torch.cat([torch.stack([p.images[:known] for p in prompts]), images], dim=1)
        # With nothing padded the kernel needs no mask.
        padded = not bool(mask.all())
        inputs = {'inputs_embeds': embeds}
        read: list[Tensor] = []
        watch = None
        if attention is not None:
            watch = LastRowAttention(embeds.shape[1], mask.shape[1])
        for number in range(max_new_tokens):
            with watch or contextlib.nullcontext():
                logits = self.family.read(
                    self.model,
                    positions,
                    images,
                    **inputs,
                    attention_mask=mask if padded else None,
                    past_key_values=cache,
                )
            if watch is not None:
                mean, watch = watch.mean(len(self.model.get_decoder().layers)), None
                attention += [row[seen] for row, seen in zip(mean, mask.bool(), strict=True)]
            best, likeliest = logits[:, -1].max(dim=-1)
            if not is_finite(best):
                raise self._not_finite(prompts, read)
            said = zip(utterances, logits[:, -1], likeliest.tolist(), strict=True)
            token = likeliest.new_tensor([one.say(*by) for one, *by in said])
            read.append(token)
            if all(one.ended for one in utterances):
                return
            yield number
            inputs = {'input_ids': token[:, None]}
            positions = positions[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(token), 1)], dim=1)
            images = torch.cat([images, images.new_zeros(len(token), 1)], dim=1)

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


def _left_padded(rows: list[Tensor]) -> Tensor:
    """Tensors (T, ...) of several lengths -> (B, longest, ...), zeros in front."""
    longest = max(len(r) for r in rows)
    padded = rows[0].new_zeros(len(rows), longest, *rows[0].shape[1:])
    for i, row in enumerate(rows):
        padded[i, longest - len(row) :] = row
    return padded
