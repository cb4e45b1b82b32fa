"""Answerer: visual tokens and a question -> words, greedily, streamed and stoppable."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tosa_ros.devices import checked_device
from tosa_ros.settings import MAX_NEW_TOKENS
from tosa_ros.vlm.checkpoint import Checkpoint
from tosa_ros.vlm.decoding import Decoder
from tosa_ros.vlm.families.base import Family
from tosa_ros.vlm.prompt import Prompt
from tosa_ros.vlm.rows import PromptRows, RowBuilder
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


class Answerer:
    """Language model and prompt of a checkpoint.

    The latest frames' keys and values are kept, so that the next question about the same
    VisualTokens costs only its own words. Not for several threads at once.
    """

    def __init__(self, model: PreTrainedModel, prompt: Prompt, family: Family) -> None:
        self.model = model
        self.prompt = prompt
        self.family = family
        self.builder = RowBuilder(model, prompt, family)
        self.decoder = Decoder(model, family, _stop_ids(model, prompt), self.builder.words)

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
        return self.builder.rows(tokens, question).embeds

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
        prompts = [self.builder.checked(*request, max_new_tokens) for request in requests]
        decoding = self.decoder.steps(prompts, max_new_tokens)
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
        prompt = self.builder.checked(tokens, question, max_new_tokens)
        return self._stream(prompt, max_new_tokens, stop)

    def _stream(
        self, prompt: PromptRows, max_new_tokens: int, stop: Callable[[], bool]
    ) -> Generator[str, None, Generation]:
        steps = self.decoder.steps([prompt], max_new_tokens)
        ids: list[int] = []
        sent = ''
        start = time.perf_counter()
        first = None
        try:
            while not stop():
                with torch.inference_mode(), self.decoder.stopping(stop):
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

    def _text(self, ids: list[int]) -> str:
        return self.prompt.text_of(ids)


def _stop_ids(model: PreTrainedModel, prompt: Prompt) -> set[int]:
    ids = {prompt.tokenizer.eos_token_id}
    for config in (model.generation_config, model.config, model.config.get_text_config()):
        eos = getattr(config, 'eos_token_id', None)
        ids.update(eos if isinstance(eos, list | tuple) else [eos])
    return ids - {None}
