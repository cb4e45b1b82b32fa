"""Answerer: visual tokens and a question -> words, greedily, streamed and stoppable."""

from __future__ import annotations

import contextlib
import copy
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from tosa_ros.devices import checked_device
from tosa_ros.errors import ModelError, QuestionError
from tosa_ros.settings import MAX_NEW_TOKENS
from tosa_ros.vlm.checkpoint import Checkpoint
from tosa_ros.vlm.families.base import Family, Position
from tosa_ros.vlm.finite import first_not_finite, is_finite, not_finite
from tosa_ros.vlm.prefix import PrefixCache, PromptRows, shared_rows
from tosa_ros.vlm.prompt import Prompt
from tosa_ros.vlm.tokens import VisualTokens

DEFAULT_MAX_NEW_TOKENS: int = MAX_NEW_TOKENS.default


@dataclass(frozen=True)
class Generation:
    """An answer's text and what it took. Times are milliseconds."""

    text: str
    prompt_tokens: int
    new_tokens: int
    prefill_ms: float
    decode_ms: float


class _StoppedError(Exception):
    """Asked to stop in the middle of a step."""


class Answerer:
    """Language model and prompt of a checkpoint.

    The latest frames' keys and values are kept, so that the next question about the same
    VisualTokens costs only its own words. Not for several threads at once.

    A merged token keeps the position of the middle one of its patches, so that words and images
    are as far apart as in training: on the tiny world, packing tokens closely instead costs ten
    points at keep 0.25. Where the original positions exceed what the model reads, they are packed.
    """

    def __init__(self, model: PreTrainedModel, prompt: Prompt, family: Family) -> None:
        self.model = model
        self.prompt = prompt
        self.family = family
        self._embed = model.get_input_embeddings()
        family.place(self._embed.weight, prompt.tokenizer)
        self._stop_ids = _stop_ids(model, prompt)
        self._prefix = PrefixCache(model.config, family.causal)
        self._stop: Callable[[], bool] = lambda: False
        for layer in model.get_decoder().layers:
            layer.register_forward_pre_hook(self._stop_here)
        text = model.config.get_text_config()
        self._context = getattr(text, 'max_position_embeddings', None) or sys.maxsize

    @classmethod
    def from_pretrained(
        cls, path_or_id: str | Path, *, device: str = 'cpu', dtype: torch.dtype | None = None
    ) -> Answerer:
        """Loads the language model alone; tensors of the vision half are not read.

        dtype: by default the checkpoint's own (bfloat16 for float16 checkpoints on a CPU).
        """
        device = checked_device(device)
        checkpoint = Checkpoint.open(path_or_id)
        with checkpoint.loading_errors():
            prompt = Prompt.of(checkpoint)
            family = checkpoint.family
            return cls(family.load_language(device, dtype), prompt, family)

    def embed(self, tokens: Sequence[VisualTokens], question: str) -> Tensor:
        """The prompt as embeddings (T, D): words, and each image's tokens in their place."""
        return self._rows(tokens, question).embeds

    @torch.inference_mode()
    def _rows(
        self, tokens: Sequence[VisualTokens], question: str, max_new_tokens: int = 0
    ) -> PromptRows:
        ids = self.prompt.ids(question, len(tokens))
        weight = self._embed.weight
        # Some models have no embedding for the image's placeholder.
        known = [0 if i == self.prompt.image_token_id else i for i in ids]
        words = self.family.words(self._embed(torch.tensor(known, device=weight.device)))
        images = iter(tokens)
        keys: list[int | VisualTokens] = []
        places: list[Position] = []
        pieces: list[Tensor] = []
        start = 0
        for i, word in zip(ids, words, strict=True):
            if i != self.prompt.image_token_id:
                keys.append(i)
                places.append(self.family.at(start))
                pieces.append(word[None])
                start += 1
                continue
            image = next(images)
            positions, start = self.family.positions(image, start)
            keys += [image] * len(positions)
            places += positions
            pieces += [row.to(weight.device, weight.dtype) for row in self.family.rows(image)]
        _check_widths(pieces, words.shape[1])
        if start + max_new_tokens > self._context:
            places = self.family.packed(places)
        return PromptRows(
            keys=list(zip(keys, places, strict=True)),
            embeds=torch.cat(pieces),
            positions=torch.tensor(places, device=weight.device),
            images=torch.tensor(
                [int(isinstance(key, VisualTokens)) for key in keys], device=weight.device
            ),
        )

    def answer(
        self,
        tokens: Sequence[VisualTokens],
        question: str,
        *,
        max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS,
    ) -> Generation:
        """The answer to one question about these images."""
        return self.answer_batch([(tokens, question)], max_new_tokens=max_new_tokens)[0]

    @torch.inference_mode()
    def answer_batch(
        self,
        requests: Sequence[tuple[Sequence[VisualTokens], str]],
        *,
        max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS,
    ) -> list[Generation]:
        """Answers several questions in one padded batch. Times are the batch's."""
        if not requests:
            return []
        prompts = [self._checked(*request, max_new_tokens) for request in requests]
        decoding = self._decode(prompts, max_new_tokens)
        start = time.perf_counter()
        new = [[] for _ in prompts]
        first = None
        for step in decoding:
            first = first or time.perf_counter()
            for ids, token in zip(new, step, strict=True):
                if token is not None:
                    ids.append(token)
        end = time.perf_counter()
        first = first or end
        return [
            Generation(
                text=self._text(ids).strip(),
                prompt_tokens=len(prompt),
                new_tokens=len(ids),
                prefill_ms=1e3 * (first - start),
                decode_ms=1e3 * (end - first),
            )
            for prompt, ids in zip(prompts, new, strict=True)
        ]

    def stream(
        self,
        tokens: Sequence[VisualTokens],
        question: str,
        *,
        max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS,
        stop: Callable[[], bool] = lambda: False,
    ) -> Generator[str, None, Generation]:
        """Pieces of the answer as they come; together they are `answer(...).text`.

        stop: asked before each token, and before each layer that reads the prompt or the token;
        True ends the answer there. The generator's return value is the Generation.
        """
        prompt = self._checked(tokens, question, max_new_tokens)
        return self._stream(prompt, max_new_tokens, stop)

    def _stream(
        self, prompt: PromptRows, max_new_tokens: int, stop: Callable[[], bool]
    ) -> Generator[str, None, Generation]:
        steps = self._decode([prompt], max_new_tokens)
        ids: list[int] = []
        sent = ''
        start = time.perf_counter()
        first = None
        try:
            while not stop():
                with torch.inference_mode(), self._stopping(stop):
                    step = next(steps, None)
                first = first or time.perf_counter()
                if step is None:
                    break
                ids.append(step[0])
                # Trailing spaces and half characters wait until it is known what follows them.
                text = self._text(ids).lstrip().rstrip('\ufffd').rstrip()
                if len(text) > len(sent):
                    yield text[len(sent) :]
                    sent = text
        finally:
            steps.close()
        text = self._text(ids).strip()
        if len(text) > len(sent):
            yield text[len(sent) :]
        end = time.perf_counter()
        first = first or end
        return Generation(text, len(prompt), len(ids), 1e3 * (first - start), 1e3 * (end - first))

    def _checked(
        self, tokens: Sequence[VisualTokens], question: str, max_new_tokens: int
    ) -> PromptRows:
        prompt = self._rows(tokens, question, max_new_tokens)
        if len(prompt) + max_new_tokens > self._context:
            raise QuestionError(
                f'question and images take {len(prompt)} tokens, and up to {max_new_tokens} more '
                f'for the answer, but the model reads {self._context}: use fewer frames, a '
                'smaller keep or a shorter question'
            )
        return prompt

    def _decode(
        self, prompts: list[PromptRows], max_new_tokens: int
    ) -> Iterator[list[int | None]]:
        """Greedy decoding: each step's token per prompt, None where the answer has ended."""
        cache, known = self._read_before(prompts)
        whole = True
        try:
            yield from self._decode_rest(prompts, cache, known, max_new_tokens)
        except _StoppedError:
            whole = False  # Some layers have read on, and some have not.
        except Exception:
            whole = False
            raise
        finally:
            if whole and len(prompts) == 1 and cache.get_seq_length() >= len(prompts[0]):
                self._prefix.give(prompts[0].keys, cache)

    def _read_before(self, prompts: list[PromptRows]) -> tuple[DynamicCache, int]:
        """Keys and values of what the prompts share, once for all, and how many rows it is."""
        shortest = min(len(p) for p in prompts)
        shared = min(shared_rows([p.keys for p in prompts]), shortest - 1)
        keys = prompts[0].keys[:shared]
        if len(prompts) == 1:
            return self._prefix.take(keys)
        seen = any(isinstance(key, VisualTokens) for key, _ in keys)
        if not (seen and self._prefix.reuse):
            return DynamicCache(config=self.model.config), 0
        cache, known = self._prefix.take(keys)
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
        self._prefix.give(keys, cache)
        return each, shared

    def _decode_rest(
        self, prompts: list[PromptRows], cache: DynamicCache, known: int, max_new_tokens: int
    ) -> Iterator[list[int | None]]:
        embeds = _left_padded([p.embeds[known:] for p in prompts])
        positions = _left_padded([p.positions[known:] for p in prompts])
        mask = _left_padded([torch.ones_like(p.images[known:]) for p in prompts])
        mask = torch.cat([mask.new_ones(len(prompts), known), mask], dim=1)
        images = _left_padded([p.images[known:] for p in prompts])
        images = torch.cat([torch.stack([p.images[:known] for p in prompts]), images], dim=1)
        # With nothing padded the kernel needs no mask.
        padded = not bool(mask.all())
        ended = [False] * len(prompts)
        inputs = {'inputs_embeds': embeds}
        read: list[Tensor] = []
        for _ in range(max_new_tokens):
            logits = self.family.read(
                self.model,
                positions,
                images,
                **inputs,
                attention_mask=mask if padded else None,
                past_key_values=cache,
            )
            token = logits[:, -1].argmax(dim=-1)
            ids = token.tolist()
            if not is_finite(logits[:, -1].gather(1, token[:, None])):
                raise self._not_finite(prompts, read)
            read.append(token)
            ended = [end or i in self._stop_ids for end, i in zip(ended, ids, strict=True)]
            if all(ended):
                return
            yield [None if end else i for end, i in zip(ended, ids, strict=True)]
            inputs = {'input_ids': token[:, None]}
            positions = positions[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(ids), 1)], dim=1)
            images = torch.cat([images, images.new_zeros(len(ids), 1)], dim=1)

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
        rows = [self.family.words(self._embed(ids)) for ids in words]
        self.family.read(
            self.model,
            torch.cat(positions)[None],
            torch.cat([prompt.images, prompt.images.new_zeros(len(words))])[None],
            inputs_embeds=torch.cat([prompt.embeds, *rows])[None],
            past_key_values=DynamicCache(config=self.model.config),
        )

    @contextlib.contextmanager
    def _stopping(self, stop: Callable[[], bool]) -> Iterator[None]:
        self._stop = stop
        try:
            yield
        finally:
            self._stop = lambda: False

    def _stop_here(self, *_: object) -> None:
        if self._stop():
            raise _StoppedError

    def _text(self, ids: list[int]) -> str:
        return self.prompt.text_of(ids)


def _check_widths(pieces: list[Tensor], own: int) -> None:
    others = {piece.shape[1] for piece in pieces} - {own}
    if others:
        raise ModelError(
            f'visual tokens of widths {sorted(others)} for a language model of width {own}: '
            'both halves must come from one checkpoint'
        )


def _left_padded(rows: list[Tensor]) -> Tensor:
    """Tensors (T, ...) of several lengths -> (B, longest, ...), zeros in front."""
    longest = max(len(r) for r in rows)
    padded = rows[0].new_zeros(len(rows), longest, *rows[0].shape[1:])
    for i, row in enumerate(rows):
        padded[i, longest - len(row) :] = row
    return padded


def _stop_ids(model: PreTrainedModel, prompt: Prompt) -> set[int]:
    ids = {prompt.tokenizer.eos_token_id}
    for config in (model.generation_config, model.config, model.config.get_text_config()):
        eos = getattr(config, 'eos_token_id', None)
        ids.update(eos if isinstance(eos, list | tuple) else [eos])
    return ids - {None}
