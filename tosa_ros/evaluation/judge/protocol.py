"""What a judge is, and OpenEQA's own settings of one."""

from __future__ import annotations

from typing import Any, Protocol

from tosa_ros.errors import TosaError

# OpenEQA's settings. Its model is retired: no endpoint is known to have it.
OFFICIAL_JUDGE = 'gpt-4-1106-preview'
TEMPERATURE = 0.2
MAX_TOKENS = 32
SEED = 1234
# Ours: how long nothing may come from an endpoint before it counts as dead.
TIMEOUT_S = 40.0


class JudgeError(TosaError):
    """A judge cannot be reached, refuses, or gives no mark."""


class UnmarkedError(JudgeError):
    """A judge gives no mark for one answer; it may for others."""


class Judge(Protocol):
    """What marks answers."""

    name: str
    parallel: bool

    def settings(self) -> dict[str, Any]:
        """What a mark depends on besides the prompt; marks made with others are not mixed in.

        `left_out`, if there, are settings of these that the judge refuses: the model's own
        stand for them. It may come while the judge is asked.
        """
        ...

    def ask(self, prompt: str, seed: int) -> str:
        """The judge's reply.

        Raises:
            UnmarkedError: there is none to this prompt.
            JudgeError: there is none, nor will there be to another prompt.
        """
        ...


def check_limit(tokens: int) -> None:
    if tokens < 1:
        raise JudgeError(f'judge: {tokens} tokens for a reply; wanted at least 1')
