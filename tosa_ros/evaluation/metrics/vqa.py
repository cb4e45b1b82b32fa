"""VQAv2's official accuracy with its answer processing, and ToSA's counting subset."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from tosa_ros.evaluation.metrics.text import NUMBER_WORDS

_PUNCTUATION = (';', '/', '[', ']', '"', '{', '}', '(', ')', '=', '+', '\\', '_', '-')
_PUNCTUATION += ('>', '<', '@', '`', ',', '?', '!')
_COMMA_IN_NUMBER = re.compile(r'\d,\d')
_PERIOD = re.compile(r'\.(?!\d)')
# The official code hands re.UNICODE to `sub` where a count is wanted.
_PERIODS_STRIPPED = int(re.UNICODE)
_DIGITS = {word: str(n) for n, word in enumerate(NUMBER_WORDS[:11])} | {'none': '0'}
_ARTICLES = ('a', 'an', 'the')

# An answer that lacks exactly one apostrophe of these words gets it back.
_CONTRACTIONS = (
    "'ow's'at 'twas ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't "
    "hadn't've hasn't haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am "
    "might've mightn't mightn't've must've mustn't needn't not've o'clock oughtn't shan't "
    "she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd "
    "someone'd've someone'll someone's something'd something'd've something'll that's there'd "
    "there'd've there're there's they'd they'd've they'll they're they've wasn't we'd've we've "
    "weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll "
    "who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'd've "
    "y'all'll you'd you'd've you'll you're you've"
)
_CONTRACTED = {
    word[:i] + word[i + 1 :]: word
    for word in _CONTRACTIONS.split()
    for i, letter in enumerate(word)
    if letter == "'"
} | {"somebody'd": 'somebodyd'}  # the official table has this one the wrong way round


def trimmed(answer: str) -> str:
    """Newlines and tabs as spaces, ends stripped: done to every answer."""
    return answer.replace('\n', ' ').replace('\t', ' ').strip()


def processed(answer: str) -> str:
    """Official processing: punctuation, then number words, articles and contractions."""
    text = answer
    number = _COMMA_IN_NUMBER.search(answer) is not None
    for mark in _PUNCTUATION:
        joined = f'{mark} ' in answer or f' {mark}' in answer or number
        text = text.replace(mark, '' if joined else ' ')
    text = _PERIOD.sub('', text, count=_PERIODS_STRIPPED)
    words = (_DIGITS.get(word, word) for word in text.lower().split())
    return ' '.join(_CONTRACTED.get(word, word) for word in words if word not in _ARTICLES)


def accuracy(prediction: str, answers: Sequence[str]) -> float:
    """min(1, matches among the others / 3), averaged over leaving each answer out.

    The answers are processed only when they differ among themselves; when all are the same,
    the comparison is letter by letter.
    """
    truths, said = [trimmed(answer) for answer in answers], trimmed(prediction)
    if len(set(truths)) > 1:
        truths, said = [processed(truth) for truth in truths], processed(said)
    return _left_out(said, truths)


def accuracy_lmms(prediction: str, answers: Sequence[str]) -> float:
    """As lmms-eval has it: the answers are always processed, also when all are the same."""
    truths = [processed(trimmed(answer)) for answer in answers]
    return _left_out(processed(trimmed(prediction)), truths)


def _left_out(said: str, truths: Sequence[str]) -> float:
    matches = [truth == said for truth in truths]
    total = sum(matches)
    return sum(min(1.0, (total - match) / 3) for match in matches) / len(matches)


def is_counting(question: str) -> bool:
    """Whether a question belongs to ToSA's counting subset."""
    return question.lower().startswith('how many')


def counting_match(prediction: str, answers: Sequence[str]) -> float:
    """Exact match with the annotators' most frequent answer, number words being digits."""
    truth = Counter(processed(trimmed(answer)) for answer in answers).most_common(1)[0][0]
    said = processed(trimmed(prediction))
    return float(bool(said) and said == truth)
