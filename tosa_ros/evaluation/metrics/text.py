"""Plain text metrics for where no official one can be computed: exact match and token F1.

Both are SQuAD's (Rajpurkar et al. 2016): lower case, no punctuation, no articles.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_NUMBERS = (
    'zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen '
    'fifteen sixteen seventeen eighteen nineteen twenty'
)
NUMBER_WORDS = _NUMBERS.split()

_PUNCTUATION = str.maketrans('', '', string.punctuation)
_ARTICLES = re.compile(r'\b(a|an|the)\b')


def normalised(text: str) -> str:
    """Lower case, without punctuation, articles and spare spaces."""
    return ' '.join(_ARTICLES.sub(' ', text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1 when the normalised prediction equals a normalised answer."""
    return float(any(normalised(prediction) == normalised(answer) for answer in answers))


def token_f1(prediction: str, answers: Sequence[str]) -> float:
    """The best F1 of shared words over the answers."""
    return max(_f1(normalised(prediction).split(), normalised(a).split()) for a in answers)


def _f1(predicted: list[str], wanted: list[str]) -> float:
    if not predicted or not wanted:
        return float(predicted == wanted)
    shared = sum((Counter(predicted) & Counter(wanted)).values())
    return 2 * shared / (len(predicted) + len(wanted))
