"""DAQUAR's measures: exact answers, and WUPS, which gives credit for answers close in meaning.

WUPS as its authors define it (Malinowski & Fritz, NeurIPS 2014, and their scoring script): two
words are as alike as their closest noun senses by Wu-Palmer's measure over WordNet, a tenth of
that below the threshold; two lists of words as the smaller of both products over one list's words
of the best match in the other.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from tosa_ros.errors import DataError, MissingDependencyError

DEBIAN = Path('/usr/share/wordnet')
BELOW = 0.1
LEXNAMES = 45

Alike = Callable[[str, str], float]


def parts(answer: str) -> list[str]:
    """A comma list's words, in lower case."""
    return [part.strip().lower() for part in answer.split(',') if part.strip()]


def exact(said: str, answer: str) -> bool:
    """The same set of words, in whatever order."""
    return bool(parts(said)) and set(parts(said)) == set(parts(answer))


def wups(said: str, answer: str, alike: Alike, threshold: float = 0.9) -> float:
    """0..1, for two comma lists."""
    first, second = parts(said), parts(answer)
    if not first or not second:
        return float(first == second)

    def like(one: str, other: str) -> float:
        if one == other:
            return 1.0
        value = alike(one, other)
        return value if value >= threshold else BELOW * value

    def product(those: Sequence[str], others: Sequence[str]) -> float:
        return math.prod(max(like(one, other) for other in others) for one in those)

    return min(product(first, second), product(second, first))


def wordnet_alike() -> Alike:
    """Wu-Palmer's measure between the closest noun senses of two words, 0 for unknown words.

    Raises MissingDependencyError where NLTK is missing, DataError where there is no WordNet.
    """
    reader = _reader()

    @cache
    def senses(word: str) -> list:
        return reader.synsets(word, pos='n')

    @cache
    def alike(one: str, other: str) -> float:
        pairs = ((a, b) for a in senses(one) for b in senses(other))
        return max((a.wup_similarity(b) or 0.0 for a, b in pairs), default=0.0)

    return lambda one, other: alike(*sorted((one, other)))


@cache
def _reader():
    try:
        import nltk
        from nltk.corpus.reader.wordnet import WordNetCorpusReader
    except ImportError as error:
        raise MissingDependencyError('nltk', 'eval', 'WUPS') from error

    class Reader(WordNetCorpusReader):
        """English alone. Debian leaves out the lexicographers' files, which play no part here."""

        def open(self, file):
            if file != 'lexnames' or (Path(str(self.root)) / file).exists():
                return super().open(file)
            return io.StringIO(''.join(f'{i:02d}\tfile{i}\t1\n' for i in range(LEXNAMES)))

        def map_wn(self, version='wordnet'):
            """Of other languages' WordNets, which are not read."""
            return None

    try:
        root = nltk.data.find('corpora/wordnet')
    except LookupError:
        if not (DEBIAN / 'data.noun').is_file():
            raise DataError(
                "WUPS needs WordNet 3.0, which is not here: install Debian's wordnet-base, or "
                "NLTK's data set 'wordnet'"
            ) from None
        nltk.data.path.append(str(DEBIAN.parent))  # NLTK reads below its own paths alone
        root = nltk.data.FileSystemPathPointer(str(DEBIAN))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of other languages than English
        return Reader(root, None)
