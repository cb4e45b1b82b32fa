"""VSI-Bench's official scorer: strict parsing, mean relative accuracy, the mean over its tasks."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

import numpy as np

from tosa_ros.evaluation.metrics.choice import chosen, options_of
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

_TENS = ('twenty', 'thirty', 'forty', 'fifty', 'sixty', 'seventy', 'eighty', 'ninety')
_WORD_VALUES = {word: n for n, word in enumerate(NUMBER_WORDS)} | {
    word: 10 * n for n, word in enumerate(_TENS, start=2)
}
_SCALES = {'hundred': 100, 'thousand': 1000}
_LMMS_DIGITS = re.compile(r'-?\d+(?:\.\d+)?')
_NUMBER = re.compile(r'[-+]?\d+(?:,\d{3})*(?:\.\d+)?|[-+]?\.\d+')


def mean_relative_accuracy(predicted: float, target: float) -> float:
    """The share of ten confidence levels at which the relative error is small enough."""
    error = abs(predicted - target) / abs(target)
    return float((error <= 1 - CONFIDENCES).mean())


def score_strict(task: str, prediction: str, truth: str, options: Sequence[str] = ()) -> float:
    """Official: what stands before the first space, without trailing periods, is the answer."""
    word = _first_word(prediction)
    if task in CHOICE_TASKS:
        return float(word.lower() == truth.lower())
    return _accuracy(_float(word), truth)


def score_lenient(task: str, prediction: str, truth: str, options: Sequence[str] = ()) -> float:
    """Also finds an answer inside a sentence: a letter, an option's text, the first number."""
    if task in CHOICE_TASKS:
        letter = chosen(prediction, _lettered(options))
        return max(score_strict(task, prediction, truth), float(letter == truth.upper()))
    return _accuracy(_number(prediction), truth)


def score_lmms(task: str, prediction: str, truth: str, options: Sequence[str] = ()) -> float:
    """As lmms-eval has it (August 2026): choices as in `score_strict`, numbers from a sentence.

    The first digits (without thousands separators) or number words are the answer, whichever
    comes first: "three hundred and twenty-one" is 321.
    """
    if task in CHOICE_TASKS:
        return score_strict(task, prediction, truth)
    return _accuracy(_number_lmms(prediction), truth)


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


def _accuracy(number: float | None, truth: str) -> float:
    return 0.0 if number is None else mean_relative_accuracy(number, float(truth))


def _lettered(options: Sequence[str]) -> dict[str, str]:
    """Options such as "A. mug" by their letters; A to D where they are not known."""
    with contextlib.suppress(ValueError):
        return options_of(options)
    return dict.fromkeys('ABCD', '')


def _number_lmms(text: str) -> float | None:
    lower = text.lower()
    digits = _LMMS_DIGITS.search(lower)
    run: list[str] = []
    for found in re.finditer('[a-z]+', lower):
        word = found.group()
        if word in _WORD_VALUES or word in _SCALES:
            if not run and digits and digits.start() < found.start():
                break
            run.append(word)
        elif run and word != 'and':
            break
    if not run:
        return float(digits.group()) if digits else None
    total = current = 0
    for word in run:
        if word == 'thousand':
            total, current = total + max(current, 1) * 1000, 0
        elif word == 'hundred':
            current = max(current, 1) * 100
        else:
            current += _WORD_VALUES[word]
    return float(total + current)


def _number(text: str) -> float | None:
    strict = _float(_first_word(text))
    if strict is not None:
        return strict
    found = _NUMBER.search(text)
    if found:
        return float(found.group().replace(',', ''))
    words = re.findall('[a-z]+', text.lower())
    return next((float(NUMBER_WORDS.index(w)) for w in words if w in NUMBER_WORDS), None)
