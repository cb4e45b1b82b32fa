"""Judges: language models that mark an answer. Any OpenAI-compatible endpoint, or a local model.

A judge that cannot be asked raises; it never answers in the model's place.
"""

from __future__ import annotations

import random
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tosa_ros.chat_templates import ChatTemplate
from tosa_ros.devices import checked_device
from tosa_ros.errors import ModelError, TosaError
from tosa_ros.evaluation.posting import (
    PostError,
    post_json,
    url_without_secrets,
    without_key,
)
from tosa_ros.loading import check_shards, is_missing_folder, one_line_errors

# OpenEQA's settings.
DEFAULT_JUDGE = 'gpt-4-1106-preview'
TEMPERATURE = 0.2
MAX_TOKENS = 32
SEED = 1234


class JudgeError(TosaError):
    """A judge cannot be reached, refuses, or gives no mark."""


class Judge(Protocol):
    """What marks answers."""

    name: str
    parallel: bool

    def settings(self) -> dict[str, Any]:
        """What a mark depends on besides the prompt; marks made with others are not mixed in."""
        ...

    def ask(self, prompt: str, seed: int) -> str:
        """The judge's reply. Raises JudgeError when there is none."""
        ...


@dataclass
class EndpointJudge:
    """A model behind an OpenAI-compatible `/chat/completions` endpoint.

    base_url: up to and with the version, as 'https://api.openai.com/v1'; it goes into reports, so
        that no secret may be in it. A redirect is an error: the key is not sent on.
    key_source: what a message calls the key, whose value is never shown.
    timeout_s: for one request as a whole.
    attempts, wait_s: how often a passing failure (no connection, 429, 5xx, a broken reply) is
        tried, and the first wait, which doubles up to a minute; `Retry-After` is obeyed.
    """

    base_url: str
    model: str = DEFAULT_JUDGE
    api_key: str | None = field(default=None, repr=False)
    attempts: int = 6
    wait_s: float = 1.0
    timeout_s: float = 60.0
    key_source: str = 'api_key'
    parallel = True

    def __post_init__(self) -> None:
        if not _is_url(self.base_url):
            shown = url_without_secrets(self.base_url)
            raise JudgeError(
                f'judge: base URL {shown!r}; wanted http://... or https://..., up to /v1'
            )
        if url_without_secrets(self.base_url) != self.base_url:
            raise JudgeError(
                f'judge: base URL {url_without_secrets(self.base_url)} has a user, password or '
                f'query, which would stand in every report; the key belongs in {self.key_source}'
            )
        self.api_key = (self.api_key or '').strip()
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            raise JudgeError(
                f'judge: the key in {self.key_source} has characters that a key never has (a line '
                'break, a letter with an accent ...); set it again'
            )
        self.name = self.model

    def settings(self) -> dict[str, Any]:
        return {
            'judge': self.model,
            'endpoint': self.base_url,
            'temperature': TEMPERATURE,
            'max_tokens': MAX_TOKENS,
            'seed': SEED,
        }

    def ask(self, prompt: str, seed: int) -> str:
        for attempt in range(1, self.attempts + 1):
            try:
                return self._ask_once(prompt, seed)
            except PostError as error:
                if not error.passing:
                    raise JudgeError(
                        f'judge {self.model} at {self.base_url}: {error}; check the URL, model '
                        'and key'
                    ) from error
                if attempt == self.attempts:
                    raise JudgeError(
                        f'judge {self.model} at {self.base_url}: {error} ({attempt} attempts)'
                    ) from error
                backoff = min(60.0, self.wait_s * 2 ** (attempt - 1)) * random.uniform(0.5, 1)
                time.sleep(max(backoff, error.retry_after_s))
        raise AssertionError('unreachable')

    def _ask_once(self, prompt: str, seed: int) -> str:
        body = {
            'model': self.model,
            'messages': [{'role': 'user', 'content': prompt}],
            'temperature': TEMPERATURE,
            'max_tokens': MAX_TOKENS,
            'seed': seed,
        }
        url = f'{self.base_url.rstrip("/")}/chat/completions'
        reply = post_json(url, body, key=self.api_key, timeout_s=self.timeout_s)
        try:
            content = reply['choices'][0]['message']['content']
        except (KeyError, IndexError, TypeError) as error:
            raise PostError(
                f'the reply is not a chat completion ({type(error).__name__})', passing=True
            ) from error
        if not isinstance(content, str):
            raise PostError('the reply holds no text', passing=True)
        return without_key(content, self.api_key)


class LocalJudge:
    """A causal language model in a checkpoint folder (or hub id), by transformers."""

    parallel = False

    def __init__(self, path_or_id: str | Path, device: str = 'cpu') -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        device = checked_device(device)
        text = str(path_or_id)
        self.name = Path(text).name
        if is_missing_folder(text):
            raise ModelError(f'judge: {text!r} is not a folder; give a checkpoint or hub id')
        check_shards(text, ModelError)
        with one_line_errors(f'judge {text}: cannot be loaded', ModelError):
            self._tokenizer = AutoTokenizer.from_pretrained(path_or_id, trust_remote_code=False)
            self._model = AutoModelForCausalLM.from_pretrained(
                path_or_id, dtype='auto', trust_remote_code=False, use_safetensors=True
            )
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
            'endpoint': 'local',
            'temperature': TEMPERATURE,
            'max_tokens': MAX_TOKENS,
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
                **inputs, do_sample=True, temperature=TEMPERATURE, max_new_tokens=MAX_TOKENS
            )
        new = output[0, inputs['input_ids'].shape[1] :]
        return self._tokenizer.decode(new, skip_special_tokens=True)


def _is_url(text: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(text)
        _ = parts.port  # raises if it is not a number
    except ValueError:
        return False
    sound = text.isascii() and text.isprintable() and ' ' not in text
    return sound and parts.scheme in ('http', 'https') and bool(parts.hostname)
