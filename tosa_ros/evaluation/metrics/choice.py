"""Questions with options: what a reply chose, if it is clear, and nothing if it is not."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence

from tosa_ros.evaluation.metrics.text import normalised

Options = Mapping[str, str]  # letter -> text, '' where the question itself lists the options

_LABELLED = re.compile(r'\s*[(\[]?(?P<letter>[A-Za-z])\s*[).:\]]+\s*(?P<text>.*)', re.DOTALL)
_LETTER_ALONE = re.compile(r'\W*([A-Za-z])\W*')
_OPENING = re.compile(r'\s*(?P<head>.+?)(?:[,.;:!](?=\s)|\n)\s*(?P<rest>.*)', re.DOTALL)
# A capital that is a letter of an option, not an article ("A mug").
_CAPITAL = r"(?:[B-Z]|A(?!\s+(?!(?:is|or|and|as|because|since)\b)[a-z]))(?![\w'])"
_STATED = re.compile(rf'\b(?:[Aa]nswer|[Oo]ption|[Cc]hoice)(?:\s+is)?\W{{0,6}}({_CAPITAL})')
_MARKED = re.compile(r"(?<![\w'])(?:\(([A-Za-z])\)|([A-Z])[).:](?!\w))")
_LONE = re.compile(rf"(?<![\w'])(?!I(?![\w']))({_CAPITAL})")
_DENIES = re.compile(r'\b(?:no|not|cannot|nor|neither|none|never|without|except|instead)\b')
_YES_NO = {'yes', 'no'}
_JOINS = re.compile(r'\W*(?:or|and)\b', re.IGNORECASE)


def options_of(values: Sequence[str]) -> dict[str, str]:
    """The options' texts by their letters: the ones that all of them bear, or A, B, C in turn.

    Options that are only letters ("B", "(B)") have no texts.

    Raises:
        ValueError: too few or too many, or two that cannot be told apart.
    """
    letters = string.ascii_uppercase[: len(values)]
    if not 2 <= len(values) <= len(string.ascii_uppercase):
        raise ValueError(f'{len(values)} options; wanted 2 to {len(string.ascii_uppercase)}')
    bare = [one[1].upper() for v in values if (one := _LETTER_ALONE.fullmatch(v))]
    labelled = [one.group('letter', 'text') for v in values if (one := _LABELLED.fullmatch(v))]
    if sorted(bare) == [*letters]:
        return dict.fromkeys(bare, '')
    if sorted(letter.upper() for letter, _ in labelled) == [*letters]:
        options = {letter.upper(): text.strip() for letter, text in labelled}
    else:
        options = dict(zip(letters, (value.strip() for value in values), strict=True))
    texts = [normalised(text) for text in options.values()]
    for letter, text in zip(options, texts, strict=True):
        if not text:
            raise ValueError(f'option {letter} is empty')
        if texts.count(text) > 1:
            raise ValueError(f'two options are {text!r}')
        if text.upper() in options and text.upper() != letter:
            raise ValueError(f'option {letter} is {text!r}, the letter of another one')
    return options


def chosen(reply: str, options: Options) -> str | None:
    """The letter of the option that a reply names by letter or text; None if not just one.

    In this order: the reply is an option's text; it is or begins with a letter ("B", "(b)",
    "B. mug") whose line names no other option instead; it begins with an option's text and goes
    on without another ("Yes, it fits"); it says which is the answer ("the answer is B"); it names
    one option and no other, and denies nothing.
    """
    by_text = {normalised(text): letter for letter, text in options.items() if text}
    said = normalised(reply)
    alone = _LETTER_ALONE.fullmatch(reply)
    if said in by_text:
        return by_text[said]
    if alone:
        return alone[1].upper() if alone[1].upper() in options else None
    label = _LABELLED.match(reply)
    if label and label['letter'].upper() in options:
        return _labelled(label['letter'].upper(), label['text'], options, by_text)
    opening = _OPENING.fullmatch(reply)
    if opening and normalised(opening['head']) in by_text:
        return _opened(by_text[normalised(opening['head'])], opening['rest'], options, by_text)
    stated = {letter for letter in _STATED.findall(reply) if letter in options}
    if len(stated) == 1:
        return stated.pop()
    named = _letters(reply, options) | _texts(said, by_text)
    return named.pop() if len(named) == 1 and not _denies(reply, by_text) else None


def choice_match(prediction: str, right: Sequence[str], options: Options) -> float:
    """1 when the prediction chose one of the right letters, and clearly no other."""
    return float(chosen(prediction, options) in right)


def listed(options: Options) -> str:
    """The options as a prompt lists them, a line each.

    '' where they have no texts, or are yes and no: the question itself says so.
    """
    if {normalised(text) for text in options.values()} == _YES_NO:
        return ''
    return '\n'.join(f'{letter}. {text}' for letter, text in options.items() if text)


def _labelled(letter: str, text: str, options: Options, by_text: Options) -> str | None:
    """The letter of "B. mug", unless its line has other letters, or another option's text."""
    line = text.partition('\n')[0]
    letters, texts = _letters(line, options), _texts(normalised(line), by_text)
    contradicts = bool(texts) and letter not in texts
    return None if letters - {letter} or contradicts else letter


def _opened(letter: str, rest: str, options: Options, by_text: Options) -> str | None:
    """The letter of "Yes, it fits", unless another option follows; "no" may: "Yes, no chair"."""
    others = (_letters(rest, options) | _texts(normalised(rest), by_text)) - {letter}
    if by_text.keys() == _YES_NO and normalised(rest) not in by_text:
        others = set()
    return None if others or _JOINS.match(rest) else letter


def _letters(text: str, options: Options) -> set[str]:
    """Letters of options that stand in a text as such."""
    found = [*_LONE.findall(text), *(one or other for one, other in _MARKED.findall(text))]
    return {letter.upper() for letter in found if letter.upper() in options}


def _texts(said: str, by_text: Options) -> set[str]:
    """Letters of the options whose texts a normalised reply has, and not within a longer one's."""
    spans = [(m.start(), m.end(), by_text[t]) for t in by_text for m in _within(t).finditer(said)]
    return {
        letter
        for start, end, letter in spans
        if not any(s <= start and end <= e and e - s > end - start for s, e, _ in spans)
    }


def _denies(reply: str, by_text: Options) -> bool:
    """Whether a reply denies something, beyond the words of the options themselves."""
    rest = normalised(reply)
    for text in by_text:
        rest = _within(text).sub(' ', rest)
    return bool(_DENIES.search(rest) or "n't" in reply.lower().replace('’', "'"))


def _within(text: str) -> re.Pattern[str]:
    """Finds a normalised text where it stands as whole words and whole numbers."""
    return re.compile(rf'(?<![\w.<>-]){re.escape(text)}(?![\w%]|\.\d)')
