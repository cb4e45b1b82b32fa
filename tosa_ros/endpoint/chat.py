"""Asks a model behind an OpenAI-compatible endpoint, as often as it takes and no longer."""

from __future__ import annotations

import random
import threading
import time
import urllib.parse
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tosa_ros.endpoint.dialect import Dialect
from tosa_ros.endpoint.posting import PostError, post_json, url_without_secrets, without_key
from tosa_ros.endpoint.replies import reply_text, without_thinking
from tosa_ros.errors import TosaError, printable

ATTEMPTS = 6
FIRST_ATTEMPTS = 3  # to reach an endpoint that was never there
# HTTP errors that are about one request, not about the model.
_OF_ONE_REQUEST = (400, 413, 422)


class EndpointError(TosaError):
    """A model cannot be reached or refuses; another request will fare no better."""


class RefusedError(EndpointError):
    """A model answers one request not; it may answer others."""


@dataclass(frozen=True)
class Role:
    """What messages call a model, and the options that they advise.

    verb: what it does to a request. left_out: where it is said that a parameter was left out.
    """

    name: str
    verb: str
    left_out: str
    timeout: str
    limit: str


@dataclass(frozen=True)
class Reply:
    """What a model said, its thoughts left away. Token counts as the server has them, or None."""

    text: str
    prompt_tokens: int | None
    new_tokens: int | None


@dataclass
class ChatEndpoint:
    """A model behind an OpenAI-compatible `/chat/completions` endpoint. Safe for many threads.

    base_url: up to and with the version, as 'https://api.openai.com/v1'; it goes into reports, so
        that no secret may be in it. A redirect is an error: the key is not sent on.
    key_source: what a message calls the key, whose value is never shown.
    timeout_s: how long nothing may come from the endpoint, however often it is tried.
    attempts, wait_s: how often a passing failure (no connection, 429, 5xx, a broken reply) is
        tried, and the first wait, which doubles up to a minute; `Retry-After` is obeyed. An
        endpoint from which nothing came yet is given up sooner.

    A parameter that the endpoint refuses is renamed or left out from then on, with a warning.
    """

    base_url: str
    model: str
    role: Role
    api_key: str | None = field(default=None, repr=False)
    attempts: int = ATTEMPTS
    wait_s: float = 1.0
    timeout_s: float = 40.0
    key_source: str = 'api_key'

    def __post_init__(self) -> None:
        self._check_url()
        if not 0 < self.timeout_s < float('inf'):
            raise EndpointError(
                f'{self.role.name}: timeout {self.timeout_s} s; wanted more than 0'
            )
        self.api_key = (self.api_key or '').strip()
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            raise EndpointError(
                f'{self.role.name}: the key in {self.key_source} has characters that a key never '
                'has (a line break, a letter with an accent ...); set it again'
            )
        self._dialect, self._lock = Dialect(), threading.Lock()
        self._heard_at, self._gone = float('-inf'), ''

    @property
    def host(self) -> str:
        """Host and path: a server's port changes from one day to the next, and it does not."""
        parts = urllib.parse.urlsplit(self.base_url)
        return f'{parts.hostname}{parts.path.rstrip("/")}'

    @property
    def left_out(self) -> list[str]:
        """Parameters that the endpoint refuses, so that its own hold."""
        return sorted(self._dialect.left_out)

    def leave_out(self, names: Iterable[str]) -> None:
        """Takes up what an earlier run learnt that the endpoint refuses."""
        self._learn(Dialect(frozenset(names)))

    def ask(self, content: str | list[dict[str, Any]], parameters: Mapping[str, Any]) -> Reply:
        """The reply to one message of a user.

        Args:
            content: text, or parts as the protocol has them ({'type': 'text', ...}, ...).
            parameters: with `max_tokens`, the longest reply, thoughts included.

        Raises:
            RefusedError: there is no reply to this message.
            EndpointError: nor will there be to another.
        """
        if self._gone:
            raise EndpointError(self._gone)
        began = time.monotonic()
        for attempt in range(1, self.attempts + 1):
            try:
                return self._ask_once(content, parameters, began)
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

    def _ask_once(
        self, content: str | list[dict[str, Any]], parameters: Mapping[str, Any], began: float
    ) -> Reply:
        """The reply, in a dialect that the endpoint takes."""
        dialect = self._dialect
        while True:
            spoken = dialect.spoken(parameters)
            body = {
                'model': self.model,
                'messages': [{'role': 'user', 'content': content}],
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
            return self._read(reply, parameters['max_tokens'])

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

    def _read(self, reply: Any, limit: int) -> Reply:
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
        used = reply.get('usage')
        said = without_thinking(text)
        if said:
            return Reply(said, _count(used, 'prompt_tokens'), _count(used, 'completion_tokens'))
        if isinstance(refusal, str):
            words = printable(without_key(refusal, self.api_key))
            raise RefusedError(f'{self._who} will not {self.role.verb} this: {words}')
        if end == 'length' or text or thoughts:
            raise RefusedError(
                f'{self._who}: no answer within {limit} tokens, thoughts included: give it more '
                f'{self.role.limit}'
            )
        return Reply('', _count(used, 'prompt_tokens'), _count(used, 'completion_tokens'))

    @property
    def _who(self) -> str:
        return f'{self.role.name} {self.model}'

    def _learn(self, dialect: Dialect) -> None:
        with self._lock:
            before, self._dialect = self._dialect, self._dialect.together(dialect)
            now = self._dialect
        for name in sorted(now.left_out - before.left_out):
            warnings.warn(
                f'{self._who} refuses {name}: it is left out, which {self.role.left_out} says',
                stacklevel=2,
            )
        if now.limit != before.limit:
            warnings.warn(
                f'{self._who} refuses {before.limit}: {now.limit} is sent in its place',
                stacklevel=2,
            )

    def _left_s(self, began: float) -> float:
        """How much longer nothing may come from the endpoint: whoever asks, one reply counts."""
        return max(began, self._heard_at) + self.timeout_s - time.monotonic()

    def _failure(self, error: PostError, attempt: int) -> EndpointError:
        what = f'{self._who} at {self.base_url}: {error}'
        if error.status in _OF_ONE_REQUEST:
            return RefusedError(f'{what}; check the model and its settings')
        advice = '; check the URL, model and key'
        if error.passing:
            advice = f' ({attempt} attempt{"s" if attempt > 1 else ""})'
        if error.late:
            advice += f'; a slow {self.role.name} needs a longer {self.role.timeout}'
        self._gone = what + advice
        return EndpointError(self._gone)

    def _check_url(self) -> None:
        shown = url_without_secrets(self.base_url)
        if not _is_url(self.base_url):
            raise EndpointError(
                f'{self.role.name}: base URL {shown!r}; wanted http://... or https://..., up to '
                '/v1'
            )
        if shown != self.base_url:
            raise EndpointError(
                f'{self.role.name}: base URL {shown} has a user, password or query, which would '
                f'stand in every report; the key belongs in {self.key_source}'
            )


def _count(used: Any, name: str) -> int | None:
    count = used.get(name) if isinstance(used, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) else None


def _is_url(text: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(text)
        _ = parts.port  # raises if it is not a number
    except ValueError:
        return False
    sound = text.isascii() and text.isprintable() and ' ' not in text
    return sound and parts.scheme in ('http', 'https') and bool(parts.hostname)
