"""A judge behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import random
import threading
import time
import urllib.parse
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tosa_ros.errors import printable
from tosa_ros.evaluation.judge.dialect import Dialect
from tosa_ros.evaluation.judge.protocol import (
    MAX_TOKENS,
    OFFICIAL_JUDGE,
    SEED,
    TEMPERATURE,
    TIMEOUT_S,
    JudgeError,
    UnmarkedError,
    check_limit,
)
from tosa_ros.evaluation.judge.replies import reply_text, without_thinking
from tosa_ros.evaluation.posting import (
    PostError,
    post_json,
    url_without_secrets,
    without_key,
)

ATTEMPTS = 6
FIRST_ATTEMPTS = 3  # to reach an endpoint that was never there
# HTTP errors that are about one request, not about the judge.
_OF_ONE_REQUEST = (400, 413, 422)


@dataclass
class EndpointJudge:
    """A model behind an OpenAI-compatible `/chat/completions` endpoint.

    base_url: up to and with the version, as 'https://api.openai.com/v1'; it goes into reports, so
        that no secret may be in it. A redirect is an error: the key is not sent on.
    model: there is no default, as OpenEQA's own judge is retired.
    max_tokens: of a reply; thoughts count.
    key_source: what a message calls the key, whose value is never shown.
    timeout_s: how long nothing may come from the endpoint, however often it is tried.
    attempts, wait_s: how often a passing failure (no connection, 429, 5xx, a broken reply) is
        tried, and the first wait, which doubles up to a minute; `Retry-After` is obeyed. An
        endpoint from which nothing came yet is given up sooner.

    A parameter that the endpoint refuses is renamed or left out from then on, with a warning.
    """

    base_url: str
    model: str = ''
    api_key: str | None = field(default=None, repr=False)
    attempts: int = ATTEMPTS
    wait_s: float = 1.0
    timeout_s: float = TIMEOUT_S
    key_source: str = 'api_key'
    max_tokens: int = MAX_TOKENS
    parallel = True

    def __post_init__(self) -> None:
        self._check_url()
        if not self.model.strip():
            raise JudgeError(
                f'judge: no model is named at {self.base_url}; there is no default, as '
                f"OpenEQA's own, {OFFICIAL_JUDGE}, is retired: give --judge-model"
            )
        check_limit(self.max_tokens)
        if not 0 < self.timeout_s < float('inf'):
            raise JudgeError(f'judge: timeout {self.timeout_s} s; wanted more than 0')
        self.api_key = (self.api_key or '').strip()
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            raise JudgeError(
                f'judge: the key in {self.key_source} has characters that a key never has (a line '
                'break, a letter with an accent ...); set it again'
            )
        self.name = self.model
        self._dialect, self._lock = Dialect(), threading.Lock()
        self._heard_at, self._gone = float('-inf'), ''

    def settings(self) -> dict[str, Any]:
        # A server's port changes from one day to the next, and its marks do not.
        parts = urllib.parse.urlsplit(self.base_url)
        left_out = sorted(self._dialect.left_out)
        return {
            'judge': self.model,
            'endpoint': f'{parts.hostname}{parts.path.rstrip("/")}',
            'temperature': TEMPERATURE,
            'max_tokens': self.max_tokens,
            'seed': SEED,
            **({'left_out': left_out} if left_out else {}),
        }

    def leave_out(self, names: Iterable[str]) -> None:
        """Takes up what an earlier run learnt that the endpoint refuses."""
        self._learn(Dialect(frozenset(names)))

    def ask(self, prompt: str, seed: int) -> str:
        if self._gone:
            raise JudgeError(self._gone)
        began = time.monotonic()
        for attempt in range(1, self.attempts + 1):
            try:
                return self._ask_once(prompt, seed, began)
            except PostError as error:
                backoff = min(60.0, self.wait_s * 2 ** (attempt - 1)) * random.uniform(0.5, 1)
                wait_s = max(backoff, error.retry_after_s)
                dead = error.status is None and (
                    wait_s > self._left_s(began)
                    or (self._heard_at == float('-inf') and attempt >= FIRST_ATTEMPTS)
                )
                if not error.passing or dead or attempt == self.attempts:
                    raise self._failure(error, attempt) from error
                time.sleep(wait_s)
        raise AssertionError('unreachable')

    def _ask_once(self, prompt: str, seed: int, began: float) -> str:
        """The reply, in a dialect that the endpoint takes."""
        parameters = {'temperature': TEMPERATURE, 'max_tokens': self.max_tokens, 'seed': seed}
        dialect = self._dialect
        while True:
            spoken = dialect.spoken(parameters)
            body = {
                'model': self.model,
                'messages': [{'role': 'user', 'content': prompt}],
                **spoken,
            }
            try:
                reply = self._post(body, max(0.05, self._left_s(began)))
            except PostError as error:
                refused = error.status in _OF_ONE_REQUEST
                following = dialect.after_refusal(error.said, spoken) if refused else None
                if following is None:
                    raise
                dialect = following
                continue
            self._learn(dialect)
            return self._text(reply)

    def _post(self, body: dict[str, Any], timeout_s: float) -> Any:
        url = f'{self.base_url.rstrip("/")}/chat/completions'
        try:
            reply = post_json(url, body, key=self.api_key, timeout_s=timeout_s)
        except PostError as error:
            if error.status is not None:
                self._heard_at = time.monotonic()
            raise
        self._heard_at = time.monotonic()
        return reply

    def _text(self, reply: Any) -> str:
        try:
            choice = reply['choices'][0]
            message, end = choice['message'], choice.get('finish_reason')
            text, refusal = reply_text(message), message.get('refusal')
            thoughts = message.get('reasoning_content') or message.get('reasoning')
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise PostError(
                f'the reply is not a chat completion ({type(error).__name__})', passing=True
            ) from error
        text = without_key(text, self.api_key)
        if without_thinking(text):
            return text
        if isinstance(refusal, str):
            said = printable(without_key(refusal, self.api_key))
            raise UnmarkedError(f'judge {self.model} will not mark this: {said}')
        if end == 'length' or text or thoughts:
            raise UnmarkedError(
                f'judge {self.model}: no answer within {self.max_tokens} tokens, thoughts '
                'included: give it more --judge-max-tokens'
            )
        return ''

    def _learn(self, dialect: Dialect) -> None:
        with self._lock:
            before, self._dialect = self._dialect, self._dialect.together(dialect)
            now = self._dialect
        for name in sorted(now.left_out - before.left_out):
            warnings.warn(
                f'judge {self.model} refuses {name}: it is left out, which the name of the '
                'metric says',
                stacklevel=2,
            )
        if now.limit != before.limit:
            warnings.warn(
                f'judge {self.model} refuses {before.limit}: {now.limit} is sent in its place',
                stacklevel=2,
            )

    def _left_s(self, began: float) -> float:
        """How much longer nothing may come from the endpoint: whoever asks, one reply counts."""
        return max(began, self._heard_at) + self.timeout_s - time.monotonic()

    def _failure(self, error: PostError, attempt: int) -> JudgeError:
        what = f'judge {self.model} at {self.base_url}: {error}'
        if error.status in _OF_ONE_REQUEST:
            return UnmarkedError(f'{what}; check the model and its settings')
        advice = '; check the URL, model and key'
        if error.passing:
            advice = f' ({attempt} attempt{"s" if attempt > 1 else ""})'
        if error.late:
            advice += '; a slow judge needs a longer --judge-timeout'
        self._gone = what + advice
        return JudgeError(self._gone)

    def _check_url(self) -> None:
        shown = url_without_secrets(self.base_url)
        if not _is_url(self.base_url):
            raise JudgeError(
                f'judge: base URL {shown!r}; wanted http://... or https://..., up to /v1'
            )
        if shown != self.base_url:
            raise JudgeError(
                f'judge: base URL {shown} has a user, password or query, which would stand in '
                f'every report; the key belongs in {self.key_source}'
            )


def _is_url(text: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(text)
        _ = parts.port  # raises if it is not a number
    except ValueError:
        return False
    sound = text.isascii() and text.isprintable() and ' ' not in text
    return sound and parts.scheme in ('http', 'https') and bool(parts.hostname)
