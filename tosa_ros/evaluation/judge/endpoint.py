"""A judge behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tosa_ros.endpoint import ChatEndpoint, EndpointError, RefusedError, Role
from tosa_ros.endpoint.chat import ATTEMPTS
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

ROLE = Role('judge', 'mark', 'the name of the metric', '--judge-timeout', '--judge-max-tokens')


@dataclass
class EndpointJudge:
    """A model behind an OpenAI-compatible `/chat/completions` endpoint; see `ChatEndpoint`.

    model: there is no default, as OpenEQA's own judge is retired.
    max_tokens: of a reply; thoughts count.
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
        with _as_judge_errors():
            self._endpoint = ChatEndpoint(
                self.base_url,
                self.model,
                ROLE,
                self.api_key,
                self.attempts,
                self.wait_s,
                self.timeout_s,
                self.key_source,
            )
        if not self.model.strip():
            raise JudgeError(
                f'judge: no model is named at {self.base_url}; there is no default, as '
                f"OpenEQA's own, {OFFICIAL_JUDGE}, is retired: give --judge-model"
            )
        check_limit(self.max_tokens)
        self.name = self.model

    def settings(self) -> dict[str, Any]:
        left_out = self._endpoint.left_out
        return {
            'judge': self.model,
            'endpoint': self._endpoint.host,
            'temperature': TEMPERATURE,
            'max_tokens': self.max_tokens,
            'seed': SEED,
            **({'left_out': left_out} if left_out else {}),
        }

    def leave_out(self, names: Iterable[str]) -> None:
        """Takes up what an earlier run learnt that the endpoint refuses."""
        self._endpoint.leave_out(names)

    def ask(self, prompt: str, seed: int) -> str:
        parameters = {'temperature': TEMPERATURE, 'max_tokens': self.max_tokens, 'seed': seed}
        with _as_judge_errors():
            return self._endpoint.ask(prompt, parameters).text


@contextlib.contextmanager
def _as_judge_errors() -> Iterator[None]:
    try:
        yield
    except RefusedError as error:
        raise UnmarkedError(str(error)) from error
    except EndpointError as error:
        raise JudgeError(str(error)) from error
