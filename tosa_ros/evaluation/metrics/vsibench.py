"""VSI-Bench's official scorer: strict parsing, mean relative accuracy, the mean over its tasks."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from tosa_ros.evaluation.metrics.text import NUMBER_WORDS

NUMERIC_TASKS = (
    'object_abs_distance',
    'object_counting',
    'object_size_estimation',
    'room_size_estimation',
)
DIRECTION_TASKS = (
    'object_rel_direction_easy',
    'object_rel_direction_medium',
    'object_rel_direction_hard',
)
CHOICE_TASKS = ('object_rel_distance', 'obj_appearance_order', 'route_planning', *DIRECTION_TASKS)
CONFIDENCES = np.linspace(0.5, 0.95, 10)

# "(B)", "B.", "B)" first; then a capital alone, but for A as an article: "A is right", "A chair".
_MARKED_LETTER = re.compile(r'(?<![A-Za-z])([A-Za-z])[).:]')
_LONE_LETTER = re.compile(r'(?<![A-Za-z])([B-Z]|A(?!\s+(?!is\b)[a-z]))(?![A-Za-z])')
_NUMBER = re.compile(r'[-+]?\d+(?:,\d{3})*(?:\.\d+)?|[-+]?\.\d+')


def mean_relative_accuracy(predicted: float, target: float) -> float:
    """The share of ten confidence levels at which the relative error is small enough."""
    error = abs(predicted - target) / abs(target)
    return float((error <= 1 - CONFIDENCES).mean())


def score_strict(task: str, prediction: str, truth: str) -> float:
    """Official: what stands before the first space, without trailing periods, is the answer."""
    word = _first_word(prediction)
    if task in CHOICE_TASKS:
        return float(word.lower() == truth.lower())
    number = _float(word)
    return 0.0 if number is None else mean_relative_accuracy(number, float(truth))


def score_lenient(
    task: str, prediction: str, truth: str, options: Sequence[str] | None = None
) -> float:
    """Also finds an answer inside a sentence: a letter, an option's text, the first number."""
    if task in CHOICE_TASKS:
        letter = _letter(prediction, options or ())
        return float(letter is not None and letter.lower() == truth.lower())
    number = _number(prediction)
    return 0.0 if number is None else mean_relative_accuracy(number, float(truth))


def overall(values: np.ndarray, tasks: np.ndarray) -> float:
    """The plain mean over tasks, after the levels of relative direction became one task.

    A level without questions leaves the direction to the others, and a task without any the
    mean to the rest, so that a subset of the benchmark has a score too.
    """
    merged = np.where(np.isin(tasks, DIRECTION_TASKS), 'object_rel_direction', tasks)
    means = []
    for task in np.unique(merged):
        levels = np.unique(tasks[merged == task])
        means.append(np.mean([values[tasks == level].mean() for level in levels]))
    return float(np.mean(means))


def _first_word(text: str) -> str:
    return text.split(' ')[0].rstrip('.').strip()


def _float(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _letter(text: str, options: Sequence[str]) -> str | None:
    letters = {option.strip()[:1].upper() for option in options} or set('ABCD')
    candidates = [_first_word(text.strip())]
    candidates += _MARKED_LETTER.findall(text) + _LONE_LETTER.findall(text)
    for candidate in candidates:
        if candidate.upper() in letters:
            return candidate
    for option in options:
        letter, _, meaning = option.partition('.')
        if meaning.strip() and meaning.strip().lower() in text.lower():
            return letter.strip()
    return None


def _number(text: str) -> float | None:
    strict = _float(_first_word(text))
    if strict is not None:
        return strict
    found = _NUMBER.search(text)
    if found:
        return float(found.group().replace(',', ''))
    words = re.findall('[a-z]+', text.lower())
    return next((float(NUMBER_WORDS.index(w)) for w in words if w in NUMBER_WORDS), None)
