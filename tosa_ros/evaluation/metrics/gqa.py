"""GQA's exact match, as LLaVA's published numbers have it: lower case, no final period."""

from __future__ import annotations


def exact_match(prediction: str, answer: str) -> float:
    """1 when the prediction, in lower case and without trailing periods, is the answer."""
    return float(prediction.rstrip('.').lower() == answer)


def kind(structural: str) -> str:
    """'open' for questions that query, 'binary' for the rest."""
    return 'open' if structural == 'query' else 'binary'
