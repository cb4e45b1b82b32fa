"""Marks in judges' replies: models think first, decorate, and add 'out of 5'."""

from __future__ import annotations

import re

from tosa_ros.endpoint.replies import without_thinking
from tosa_ros.evaluation.metrics.llm_match import parse_mark

LOWEST, HIGHEST = 1, 5
_DECORATION = re.compile(r'[*_`"“”$]|\\boxed|[{}]')
# A number that is no part of a word, a longer number or a range; and the scale that it is of.
_NUMBER = (
    r'(?<![\w.,/-])(-?\d{1,3}(?:[.,]\d{1,3})?)(?:\s?(?:/|out of|of)\s?(\d{1,3}))?'
    r'(?![.,]?\d)(?!/)(?!\s?(?:[-–—]|to\b)\s?\d)'
)
_RATED = re.compile(
    r'\b(?:mark|score|rating|grade)(?: ?\([^)\n]{0,40}\))? ?(?:\b(?:is|of)\b|[:=])[\s:(\[]{0,4}'
    + _NUMBER,
    re.IGNORECASE,
)
_ALONE = re.compile(rf'^\W*{_NUMBER}\W*$')
_FIRST = re.compile(rf'^{_NUMBER}(?=\s?[.,:;)–—-]\s|\s?\()')
_LISTED = re.compile(r'(?<!\S)2[.)]\s')
_SCALED = re.compile(rf'{_NUMBER}(?=\s?(?:[.,;:!)]|$))', re.MULTILINE)


def mark_in(reply: str) -> int:
    """The mark 1..5 that a reply gives: as OpenEQA's scorer reads it, else in common dress.

    '4', 'Your mark: 4', '4/5', '4.', '**Your mark: 4**', 'Score: 4 out of 5'. What may be meant
    in two ways is no mark.

    Raises:
        ValueError: no mark, several, one of another scale, or one outside of 1..5.
    """
    text = without_thinking(reply)
    if reply.strip() and not text:
        raise ValueError('the reply is all thoughts: give it more --judge-max-tokens')
    try:
        mark = parse_mark(text)
    except ValueError:
        mark = _dressed(text)
    if not LOWEST <= mark <= HIGHEST:
        raise ValueError(f'the mark is {mark}; wanted {LOWEST} to {HIGHEST}')
    return mark


def _dressed(text: str) -> int:
    lines = [' '.join(line.split()) for line in _DECORATION.sub('', text).splitlines()]
    lines = [line for line in lines if line]
    plain = '\n'.join(lines)
    found = (
        _RATED.findall(plain)
        or [m.groups() for line in (lines[:1] + lines[-1:]) if (m := _ALONE.match(line))]
        or _leading(plain)
        or [one for one in _SCALED.findall(plain) if one[1]]
    )
    marks = {_whole(*one) for one in found}
    if len(marks) != 1:
        raise ValueError(f'{"several marks" if marks else "no mark"} in {text[:80]!r}')
    return marks.pop()


def _leading(plain: str) -> list[tuple[str, str | None]]:
    """The number that a reply begins with, explained after a stop; unless it numbers a list."""
    match = _FIRST.match(plain)
    listed = plain.startswith('1') and _LISTED.search(plain)
    return [match.groups()] if match and not listed else []


def _whole(number: str, scale: str | None) -> int:
    value = float(number.replace(',', '.'))
    if scale and int(scale) != HIGHEST:
        raise ValueError(f'the mark is {number} out of {scale}; wanted {LOWEST} to {HIGHEST}')
    if value != int(value):
        raise ValueError(f'the mark is {number}; wanted a whole number')
    return int(value)
