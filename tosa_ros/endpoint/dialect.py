"""How an endpoint wants to be asked, learnt from what it refuses.

Models behind OpenAI-compatible endpoints differ in the parameters that they take. One that is
refused by name is called by its other name, or left out; what is left out is never left unsaid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

LIMIT, OTHER_LIMIT = 'max_tokens', 'max_completion_tokens'
_REFUSING = re.compile(
    r'unsupported|unrecogni[sz]ed|unknown|unexpected|deprecated|forbidden|extra|cannot find'
    r'|not (?:\w+ )?(?:support|permit|allow|recogni|available|implement)|remove|instead',
    re.IGNORECASE,
)
# Of a value that is taken in another form.
_CHOOSY = re.compile(r'\b(?:only|must|may|invalid|should|default)\b', re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    """left_out: parameters that are not sent. limit: what the limit of tokens is called."""

    left_out: frozenset[str] = frozenset()
    limit: str = LIMIT

    def spoken(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters as the endpoint takes them."""
        return {
            self.limit if name == LIMIT else name: value
            for name, value in parameters.items()
            if name not in self.left_out
        }

    def after_refusal(self, said: Any, sent: Mapping[str, Any]) -> Dialect | None:
        """The dialect to try next; None where the refusal is not of a parameter.

        Args:
            said: the reply to a refused request, as JSON.
            sent: the parameters in it that may be left out.
        """
        refused = refused_parameter(said, sent)
        if refused is None:
            return None
        if refused == LIMIT:
            return replace(self, limit=OTHER_LIMIT)
        name = LIMIT if refused == OTHER_LIMIT else refused
        return replace(self, left_out=self.left_out | {name})

    def together(self, other: Dialect) -> Dialect:
        """What either of two has learnt."""
        limit = self.limit if self.limit != LIMIT else other.limit
        return Dialect(self.left_out | other.left_out, limit)


def refused_parameter(said: Any, sent: Mapping[str, Any]) -> str | None:
    """Which of the sent parameters an error is about, if it is about having sent it.

    A limit of tokens that is too large, or a prompt that is too long, is not. Messages may quote
    the prompt, so that a parameter counts only where the error has its field for it, or where a
    word of refusal stands in the same message.
    """
    for message, fields in _complaints(said):
        named = [name for name in fields if name in sent]
        # The words before a hint: "use 'max_completion_tokens' instead".
        spots = {name: re.search(rf'(?<!\w){name}(?!\w)', message) for name in sent}
        named += sorted((n for n in spots if spots[n]), key=lambda n: spots[n].start())
        for name in named:
            limit = name in (LIMIT, OTHER_LIMIT)
            if _REFUSING.search(message) or (not limit and _CHOOSY.search(message)):
                return name
    return None


def _complaints(said: Any) -> Iterator[tuple[str, list[str]]]:
    """Words and named fields of each error in a reply, as OpenAI and FastAPI write them."""
    if not isinstance(said, dict):
        return
    error = said.get('error')
    inner = error if isinstance(error, dict) else {}
    texts = [inner.get('message'), error, said.get('message')]
    codes = [inner.get('code'), said.get('code')]
    yield _words(texts, codes), _texts([inner.get('param'), said.get('param')])
    detail = said.get('detail')
    for one in detail if isinstance(detail, list) else [detail]:
        if isinstance(one, str):
            yield one, []
        elif isinstance(one, dict):
            place = one.get('loc')
            yield _words([one.get('msg')], [one.get('type')]), _texts(place or [])


def _words(texts: Sequence[Any], codes: Sequence[Any]) -> str:
    """Messages as they are, and codes like unknown_parameter as words."""
    return ' '.join([*_texts(texts), *(code.replace('_', ' ') for code in _texts(codes))])


def _texts(values: Any) -> list[str]:
    return [v for v in values if isinstance(v, str)] if isinstance(values, list) else []
