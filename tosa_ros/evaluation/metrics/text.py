"""Plain text metrics for where no official one can be computed: exact match and token F1.

As SQuAD's (Rajpurkar et al. 2016), lower case, without punctuation and articles; but a number
stays whole, and what has nothing left to compare matches nothing.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

_NUMBERS = (
    'zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen '
    'fifteen sixteen seventeen eighteen nineteen twenty'
)
NUMBER_WORDS = _NUMBERS.split()

# An article stands before a word: the A of "plan A" is none.
_ARTICLES = re.compile(r'\b(?:a|an|the)\s+(?=\S)')
_THOUSANDS = re.compile(r'(?<![\w.,])[1-9]\d{0,2}(?:,\d{3})+(?!,?\d)')
_SPACE_BEFORE_PERCENT = re.compile(r'(?<=\d)\s+%')
_MINUS = str.maketrans(dict.fromkeys('\u2212\u2012\u2013\ufe63\uff0d', '-'))


def normalised(text: str) -> str:
    """Lower case, without punctuation, articles and spare spaces; numbers as they are.

    A number keeps its sign, decimals, exponent and per cent, and loses its thousands separators.
    Punctuation between two digits becomes a space ("3-4" is not 34). A text of nothing but
    punctuation stays as it is.
    """
    whole = _SPACE_BEFORE_PERCENT.sub('%', text.lower().translate(_MINUS))
    whole = _THOUSANDS.sub(lambda number: number[0].replace(',', ''), whole)
    kept = ''.join(_kept(whole, at) for at in range(len(whole)))
    return ' '.join(_ARTICLES.sub('', ' '.join(kept.split())).split()) or ' '.join(text.split())


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1 when the normalised prediction equals a normalised answer, and there is one."""
    said = normalised(prediction)
    return float(bool(said) and any(said == normalised(answer) for answer in answers))


def token_f1(prediction: str, answers: Sequence[str]) -> float:
    """The best F1 of shared words over the answers."""
    return max(_f1(normalised(prediction).split(), normalised(a).split()) for a in answers)


def _kept(text: str, at: int) -> str:
    """What becomes of a character in its place."""
    mark = text[at]
    if not (mark in string.punctuation or unicodedata.category(mark).startswith('P')):
        return mark
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if mark == '.' and after.isdigit() and not (before.isalpha() or before == '.'):
        return '.' if before.isdigit() else '0.'
    if mark in '+-' and before == 'e' and text[at - 2 : at - 1].isdigit() and after.isdigit():
        return mark
    if before.isdigit() and after.isdigit():
        return ' '
    number_follows = after.isdigit() or (after == '.' and text[at + 2 : at + 3].isdigit())
    signs = mark in '<>' or (mark == '-' and not (before.isalnum() or before == ')'))
    if (number_follows and signs) or (mark == '%' and before.isdigit()):
        return mark
    return ''


def _f1(predicted: list[str], wanted: list[str]) -> float:
    shared = sum((Counter(predicted) & Counter(wanted)).values())
    return 2 * shared / (len(predicted) + len(wanted)) if shared else 0.0
