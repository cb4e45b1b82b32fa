"""SQA3D's answer cleaning, its question types, and exact match, strict and refined."""

from __future__ import annotations

import re

from tosa_ros.evaluation.metrics.text import NUMBER_WORDS

TYPES = ('what', 'is', 'how', 'can', 'which')

# Slips that annotators made, and spellings; in the official order, which matters.
_FIXES = (
    ('letf', 'left'),
    ('let', 'left'),
    ('tehre', 'there'),
    ('rigth', 'right'),
    ('rght', 'right'),
    ('behine', 'behind'),
    ('tv', 'TV'),
    ('chai', 'chair'),
    ('wasing', 'washing'),
    ('waslked', 'walked'),
    ('oclock', "o'clock"),
)
_NUMBERS = (
    ('0', 'zero'),
    ('none', 'zero'),
    *((str(n), NUMBER_WORDS[n]) for n in range(1, 21)),
    ('23', 'twenty-three'),
)


def question_type(question: str) -> str:
    """The type by the question's first letters; 'other' for the rest."""
    lower = question.lower()
    return next((kind for kind in TYPES if lower.startswith(kind)), 'other')


def cleaned(answer: str) -> str:
    """An answer as the official scorer compares it."""
    text = re.sub(r' {2,}', ' ', re.sub(r'^ +| +$', '', answer.lower()))
    text = re.sub(r"[^a-z0-9,'\s\-:]+", '', text)
    for slip, right in _FIXES:
        text = re.sub(rf'\b{slip}\b', right, text)
    text = re.sub(r"\bo'[ ]+clock\b", "o'clock", text)
    for digits, word in _NUMBERS:
        text = re.sub(rf'\b{digits}\b', word, text)
    text = re.sub(r'\b([a-zA-Z]+)[0-9]\b', r'\1', text)
    for article in ('a', 'an', 'the'):
        text = re.sub(rf'\b{article}\b ([a-zA-Z]+)', r'\1', text)
    return re.sub(r'\bbackwards\b', 'backward', text)


def strict_match(prediction: str, answer: str) -> float:
    """EM@1: both sides cleaned, and equal."""
    return float(cleaned(prediction) == cleaned(answer))


def refined_match(prediction: str, answer: str) -> float:
    """EM-R: equal, or one within the other once spaces are gone. An empty answer is wrong."""
    predicted, wanted = (''.join(cleaned(text).split()) for text in (prediction, answer))
    if not predicted or not wanted:
        return strict_match(prediction, answer)
    return float(predicted in wanted or wanted in predicted)
