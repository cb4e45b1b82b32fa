"""A judge that runs in this process: a language model in a checkpoint folder."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from tosa_ros.chat_templates import ChatTemplate
from tosa_ros.devices import checked_device
from tosa_ros.errors import ModelError
from tosa_ros.evaluation.judge.protocol import MAX_TOKENS, SEED, TEMPERATURE, check_limit
from tosa_ros.loading import check_shards, is_missing_folder, model_fingerprint, one_line_errors


class LocalJudge:
    """A causal language model in a checkpoint folder (or hub id), by transformers."""

    parallel = False

    def __init__(
        self, path_or_id: str | Path, device: str = 'cpu', *, max_tokens: int = MAX_TOKENS
    ) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        check_limit(max_tokens)
        device = checked_device(device)
        text = str(path_or_id)
        self.name, self.max_tokens = Path(text).name, max_tokens
        if is_missing_folder(text):
            raise ModelError(f'judge: {text!r} is not a folder; give a checkpoint or hub id')
        check_shards(text, ModelError)
        with one_line_errors(f'judge {text}: cannot be loaded', ModelError):
            self._tokenizer = AutoTokenizer.from_pretrained(path_or_id, trust_remote_code=False)
            self._model = AutoModelForCausalLM.from_pretrained(
                path_or_id, dtype='auto', trust_remote_code=False, use_safetensors=True
            )
        self._fingerprint = model_fingerprint(text)
        self._model.eval().to(device)
        self._chat = None
        template = self._tokenizer.chat_template
        if isinstance(template, str):
            names = self._tokenizer.special_tokens_map
            self._chat = ChatTemplate(template, names, with_images=False)
        self._lock = threading.Lock()

    def settings(self) -> dict[str, Any]:
        return {
            'judge': self.name,
            'endpoint': f'local {self._fingerprint}',  # Folders of one name are not one model.
            'temperature': TEMPERATURE,
            'max_tokens': self.max_tokens,
            'seed': SEED,
        }

    def ask(self, prompt: str, seed: int) -> str:
        import torch

        if self._chat is not None:
            text = self._chat.write(prompt)
            inputs = self._tokenizer(text, add_special_tokens=False, return_tensors='pt')
        else:
            inputs = self._tokenizer(prompt + '\nYour mark:', return_tensors='pt')
        inputs = inputs.to(self._model.device)
        with self._lock, torch.inference_mode(), torch.random.fork_rng():
            torch.manual_seed(seed)
            output = self._model.generate(
                **inputs, do_sample=True, temperature=TEMPERATURE, max_new_tokens=self.max_tokens
            )
        new = output[0, inputs['input_ids'].shape[1] :]
        return self._tokenizer.decode(new, skip_special_tokens=True)
