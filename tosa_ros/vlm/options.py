"""How a question is to be answered: the options of everything that asks one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from tosa_ros.errors import QuestionError
from tosa_ros.settings import MAX_NEW_TOKENS, SEED, SYSTEM, TEMPERATURE, TOP_P


class AnswerOptions(TypedDict, total=False):
    """Keyword arguments of whatever asks a question; Answering says what they mean."""

    max_new_tokens: int
    stop_strings: Sequence[str]
    temperature: float
    top_p: float
    seed: int
    system: str
    history: Sequence[tuple[str, str]]
    evidence: bool


@dataclass(frozen=True)
class Answering:
    """Checked options.

    max_new_tokens: the largest number of tokens in an answer. stop_strings: texts of which the
    first to come ends the answer, and is left out. temperature: 0 takes the likeliest word each
    time; above that words are drawn, the more freely the larger it is, and of the likeliest that
    together have a probability of top_p. seed: what is drawn; the same gives the same words, in
    a batch too. system: instructions before all, of models whose chat template has a place for
    them. history: earlier questions about the same images, and what was answered. evidence:
    whether to keep how much each visual token was looked at.

    Raises QuestionError for what is not allowed, or would have no effect.
    """

    max_new_tokens: int = MAX_NEW_TOKENS.default
    stop_strings: Sequence[str] = ()
    temperature: float = TEMPERATURE.default
    top_p: float = TOP_P.default
    seed: int = SEED.default
    system: str = SYSTEM.default
    history: Sequence[tuple[str, str]] = ()
    evidence: bool = False

    def __post_init__(self) -> None:
        for row in (MAX_NEW_TOKENS, TEMPERATURE, TOP_P, SEED, SYSTEM):
            row.checked(getattr(self, row.name), QuestionError)
        strings = self.stop_strings
        if isinstance(strings, str) or not all(isinstance(s, str) and s for s in strings):
            raise QuestionError(f'stop_strings: {strings!r}; wanted a list of texts')
        texts = [text for turn in self.history for text in (turn if len(turn) == 2 else (None,))]
        if not all(isinstance(text, str) for text in texts):
            raise QuestionError(
                f'history: {self.history!r}; wanted pairs of a question and its answer'
            )
        if self.temperature > 0:
            return
        for row in (TOP_P, SEED):
            if getattr(self, row.name) != row.default:
                raise QuestionError(
                    f'{row.name}: {getattr(self, row.name)} has no effect at temperature 0, '
                    'which draws nothing; give a temperature'
                )
