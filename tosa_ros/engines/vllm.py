"""vLLM's offline engine as the language model: merged tokens go in as embeddings.

vLLM gives rows positions of its own, one behind the other, so that models whose images have
positions of several axes, or rows of their own, are refused.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tosa_ros.devices import checked_device, free_memory
from tosa_ros.errors import ModelError, QuestionError
from tosa_ros.loading import one_line_errors
from tosa_ros.vlm import Answerer, Generation
from tosa_ros.vlm.families.base import Family
from tosa_ros.vlm.options import Answering, AnswerOptions
from tosa_ros.vlm.tokens import VisualTokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from typing_extensions import Unpack

NOTE = 'vLLM: positions of all tokens one behind the other'
SEED = 0
CPU_SHARE = 0.25  # of free memory, for keys and values
# What a family may not do of its own, as vLLM reads a prompt in its own way.
_PLAIN = ('read', 'at', 'words')


class VllmAnswerer:
    """Language model of a checkpoint in vLLM, in this process; the prompts are this package's.

    It takes the place of an `Answerer` in `VqaPipeline`. Answers of a batch are decoded together
    by vLLM's scheduler, whatever their lengths. Greedy alone; not for several threads at once.
    """

    def __init__(self, local: Answerer, **engine: Any) -> None:
        """Moves the language model of `local` into vLLM. engine: arguments of `vllm.LLM`.

        Raises:
            ModelError: vLLM is not installed, cannot run the model, or would read its prompts in
                another way.
        """
        # In this process: a second one would start the caller's script again.
        os.environ.setdefault('VLLM_ENABLE_V1_MULTIPROCESSING', '0')
        os.environ.setdefault('VLLM_NO_USAGE_STATS', '1')
        os.environ.setdefault('VLLM_LOGGING_LEVEL', 'WARNING')
        try:
            import vllm
        except ImportError as error:
            raise ModelError(
                'vLLM is not installed here; it needs an environment of its own: docs/scale.md'
            ) from error
        _check_plain(local.family)
        self.version = vllm.__version__
        self.prompt, self.builder = local.prompt, local.builder
        self._sampling, self._stop_ids = vllm.SamplingParams, sorted(local.end_ids)
        settings = {
            'dtype': str(local.model.dtype).removeprefix('torch.'),
            'max_model_len': self.builder.context,
            'seed': SEED,
            **(_on_cpu() if local.model.device.type == 'cpu' else {}),
            **engine,
        }
        self.builder.context = min(self.builder.context, settings['max_model_len'])
        with (
            tempfile.TemporaryDirectory(prefix='tosa-vllm-') as folder,
            one_line_errors('vLLM cannot run the language model', ModelError),
        ):
            write_language_model(local.model, Path(folder))
            local.prompt.tokenizer.save_pretrained(folder)
            self._llm = vllm.LLM(folder, enable_prompt_embeds=True, **settings)

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        *,
        device: str = 'cpu',
        dtype: torch.dtype | None = None,
        **engine: Any,
    ) -> VllmAnswerer:
        """The language model of a checkpoint folder or hub id; see `Answerer.from_pretrained`.

        vLLM runs on the device that it was built for.
        """
        local = Answerer.from_pretrained(path_or_id, device=checked_device(device), dtype=dtype)
        return cls(local, **engine)

    def answer(
        self, tokens: Sequence[VisualTokens], question: str, **options: Unpack[AnswerOptions]
    ) -> Generation:
        """The answer to one question about these images."""
        return self.answer_batch([(tokens, question)], **options)[0]

    def answer_batch(
        self,
        requests: Sequence[tuple[Sequence[VisualTokens], str]],
        **options: Unpack[AnswerOptions],
    ) -> list[Generation]:
        """Answers several questions. Times are those of the whole batch, prefill among decode."""
        answering = Answering(**options)
        if answering != Answering(max_new_tokens=answering.max_new_tokens):
            raise QuestionError('vLLM answers greedily here: of the options max_new_tokens alone')
        longest = answering.max_new_tokens
        rows = [self.builder.checked(*request, answering).embeds for request in requests]
        sampling = self._sampling(
            temperature=0, max_tokens=longest, stop_token_ids=self._stop_ids, seed=SEED
        )
        start = time.perf_counter()
        prompts = [{'prompt_embeds': one} for one in rows]
        outputs = self._llm.generate(prompts, sampling, use_tqdm=False) if prompts else []
        decode_ms = 1e3 * (time.perf_counter() - start)
        said = [self._words(list(output.outputs[0].token_ids)) for output in outputs]
        return [
            Generation(
                text=self.prompt.text_of(ids).strip(),
                prompt_tokens=len(one),
                new_tokens=len(ids),
                prefill_ms=0.0,
                decode_ms=decode_ms,
                note=NOTE,
            )
            for one, ids in zip(rows, said, strict=True)
        ]

    def stream(
        self, tokens: Sequence[VisualTokens], question: str, **options: Unpack[AnswerOptions]
    ) -> Generator[str, None, Generation]:
        """The whole answer as one piece: vLLM's offline engine does not stream."""
        generation = self.answer(tokens, question, **options)
        if generation.text:
            yield generation.text
        return generation

    def _words(self, ids: list[int]) -> list[int]:
        """Without the token that ended the answer."""
        return ids[:-1] if ids and ids[-1] in self._stop_ids else ids


def write_language_model(model: PreTrainedModel, folder: Path) -> None:
    """A language model as a checkpoint of its own, under its own class's tensor names."""
    from safetensors.torch import save_file

    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        tensors.pop('lm_head.weight', None)
    save_file(tensors, folder / 'model.safetensors', {'format': 'pt'})


def _on_cpu() -> dict[str, Any]:
    """vLLM would take nine tenths of all memory, or fail, and compile for minutes."""
    free = free_memory('cpu')
    share = {} if free is None else {'kv_cache_memory_bytes': int(CPU_SHARE * free)}
    return {'enforce_eager': True, **share}


def _check_plain(family: Family) -> None:
    own = [name for name in _PLAIN if getattr(type(family), name) is not getattr(Family, name)]
    if own or not family.causal:
        raise ModelError(
            f'{family.title}: its prompt is read in a way of its own, which vLLM does not know '
            'from embeddings; use the local answerer'
        )
