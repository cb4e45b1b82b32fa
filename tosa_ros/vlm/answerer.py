"""Answerer: visual tokens and a question -> words, at once, in batches or streamed."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tosa_ros.devices import checked_device
from tosa_ros.vlm.checkpoint import Checkpoint
from tosa_ros.vlm.decoding import Decoder
from tosa_ros.vlm.evidence import Evidence, evidence_of
from tosa_ros.vlm.families.base import Family
from tosa_ros.vlm.options import Answering, AnswerOptions
from tosa_ros.vlm.prompt import Prompt
from tosa_ros.vlm.rows import PromptRows, RowBuilder
from tosa_ros.vlm.tokens import VisualTokens
from tosa_ros.vlm.utterance import Utterance

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from tosa_ros.vlm.weights import MappedWeightOptions


@dataclass(frozen=True)
class Generation:
    """An answer's text and what it took. Times are milliseconds.

    note: what had to be done to positions of the prompt; empty where nothing.
    evidence: what it looked at, where that was asked for.
    """

    text: str
    prompt_tokens: int
    new_tokens: int
    prefill_ms: float
    decode_ms: float
    note: str = ''
    evidence: Evidence | None = None


class Answerer:
    """Language model and prompt of a checkpoint.

    The latest frames' keys and values are kept, so that the next question about the same
    VisualTokens costs only its own words. Not for several threads at once.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        prompt: Prompt,
        family: Family,
        trained_frames: int | None = None,
    ) -> None:
        self.model = model
        self.prompt = prompt
        self.family = family
        self.builder = RowBuilder(model, prompt, family, trained_frames)
        self.decoder = Decoder(model, family, self.builder.words)
        self.end_ids = _end_ids(model, prompt)

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        *,
        device: str = 'cpu',
        dtype: torch.dtype | None = None,
        trained_frames: int | None = None,
        **weights: Unpack[MappedWeightOptions],
    ) -> Answerer:
        """Loads the language model alone; tensors of the vision half are not read.

        dtype: by default the checkpoint's own (bfloat16 for float16 checkpoints on a CPU).
        trained_frames: the largest number of frames that the model was trained on; more share the
        positions of that many. By default what the checkpoint's config says, if it does.
        weights: quantize, attn_implementation, revision and device_map, as `Weights` has them;
        a device_map has its say in place of `device`.
        """
        device = checked_device('auto' if weights.get('device_map') else device)
        checkpoint = Checkpoint.open(path_or_id, **weights)
        with checkpoint.loading_errors():
            prompt = Prompt.of(checkpoint)
            family = checkpoint.family
            if trained_frames is None:
                trained_frames = checkpoint.trained_frames
            return cls(family.load_language(device, dtype), prompt, family, trained_frames)

    def embed(self, tokens: Sequence[VisualTokens], question: str) -> Tensor:
        """The prompt as embeddings (T, D): words, and each image's tokens in their place."""
        return self.builder.rows(tokens, question).embeds

    def answer(
        self,
        tokens: Sequence[VisualTokens],
        question: str,
        **options: Unpack[AnswerOptions],
    ) -> Generation:
        """The answer to one question about these images. options: the fields of Answering."""
        return self.answer_batch([(tokens, question)], **options)[0]

    @torch.inference_mode()
    def answer_batch(
        self,
        requests: Sequence[tuple[Sequence[VisualTokens], str]],
        **options: Unpack[AnswerOptions],
    ) -> list[Generation]:
        """Answers several questions in one padded batch. Times are the batch's."""
        answering = Answering(**options)
        if not requests:
            return []
        longest = answering.max_new_tokens
        prompts = [self.builder.checked(*request, answering) for request in requests]
        said = [self._utterance(answering) for _ in prompts]
        attention = [] if answering.evidence else None
        start = time.perf_counter()
        first = None
        for _ in self.decoder.steps(prompts, said, longest, attention):
            first = first or time.perf_counter()
        end = time.perf_counter()
        times = _times(start, first, end)
        return [
            _generation(prompt, one, one.text(), times, evidence)
            for prompt, one, evidence in zip(
                prompts, said, _evidence(prompts, attention), strict=True
            )
        ]

    def stream(
        self,
        tokens: Sequence[VisualTokens],
        question: str,
        *,
        stop: Callable[[], bool] = lambda: False,
        **options: Unpack[AnswerOptions],
    ) -> Generator[str, None, Generation]:
        """Pieces of the answer as they come; together they are `answer(...).text`.

        stop: asked before each token, and before each layer that reads the prompt or the token;
        True ends the answer there. The generator's return value is the Generation.
        """
        answering = Answering(**options)
        prompt = self.builder.checked(tokens, question, answering)
        return self._stream(prompt, answering, stop)

    def _stream(
        self, prompt: PromptRows, answering: Answering, stop: Callable[[], bool]
    ) -> Generator[str, None, Generation]:
        attention = [] if answering.evidence else None
        said = self._utterance(answering)
        steps = self.decoder.steps([prompt], [said], answering.max_new_tokens, attention)
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
                text = said.shown()
                if len(text) > len(sent):
                    yield text[len(sent) :]
                    sent = text
        finally:
            steps.close()
        text = said.text()
        if len(text) > len(sent):
            yield text[len(sent) :]
        times = _times(start, first, time.perf_counter())
        [evidence] = _evidence([prompt], attention)
        return _generation(prompt, said, text, times, evidence)

    def _utterance(self, answering: Answering) -> Utterance:
        return Utterance(answering, self.end_ids, self.prompt.text_of)


def _times(start: float, first: float | None, end: float) -> tuple[float, float]:
    """Milliseconds of the prefill and of the decoding."""
    first = first or end
    return 1e3 * (first - start), 1e3 * (end - first)


def _generation(
    prompt: PromptRows,
    said: Utterance,
    text: str,
    times: tuple[float, float],
    evidence: Evidence | None,
) -> Generation:
    return Generation(text, len(prompt), len(said.ids), *times, prompt.note, evidence)


def _evidence(
    prompts: Sequence[PromptRows], attention: Sequence[Tensor] | None
) -> list[Evidence | None]:
    """Each prompt's evidence; None where there is none, or where it was stopped too soon."""
    if not attention:
        return [None] * len(prompts)
    return [evidence_of(*each) for each in zip(prompts, attention, strict=True)]


def _end_ids(model: PreTrainedModel, prompt: Prompt) -> set[int]:
    ids = {prompt.tokenizer.eos_token_id}
    for config in (model.generation_config, model.config, model.config.get_text_config()):
        eos = getattr(config, 'eos_token_id', None)
        ids.update(eos if isinstance(eos, list | tuple) else [eos])
    return ids - {None}
