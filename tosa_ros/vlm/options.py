"""How a question is to be answered: the options of everything that asks one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from tosa_ros.errors import QuestionError
from tosa_ros.settings import MAX_NEW_TOKENS


class AnswerOptions(TypedDict, total=False):
    """Keyword arguments of whatever asks a question; what they mean and their defaults are
    Answering's."""

    max_new_tokens: int
    evidence: bool


@dataclass(frozen=True)
class Answering:
    """Checked options.

    max_new_tokens: the largest number of tokens in an answer. evidence: whether to keep how much
    each visual token was looked at.

    Raises QuestionError for what is not allowed.
    """

    max_new_tokens: int = MAX_NEW_TOKENS.default
    evidence: bool = False

    def __post_init__(self) -> None:
        MAX_NEW_TOKENS.checked(self.max_new_tokens, QuestionError)
