"""GQA's exact match, as LLaVA's published numbers have it: lower case, no final period."""

from __future__ import annotations

import string

_PUNCTUATION = str.maketrans('', '', string.punctuation)


def exact_match(prediction: str, answer: str) -> float:
    """1 when the prediction, in lower case and without trailing periods, is the answer."""
    return float(prediction.rstrip('.').lower() == answer)


def exact_match_lmms(prediction: str, answer: str) -> float:
    """As lmms-eval has it: both in lower case and without any punctuation."""
    said, wanted = (text.lower().translate(_PUNCTUATION) for text in (prediction, answer))
    return float(said == wanted)


def kind(structural: str) -> str:
    """'open' for questions that query, 'binary' for the rest."""
    return 'open' if structural == 'query' else 'binary'
