"""ScanQA's official metrics: raw exact match, and caption metrics by pycocoevalcap."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Mapping, Sequence

from tosa_ros.errors import DataError, MissingDependencyError
from tosa_ros.evaluation.metrics.score import QuestionId, Score


class Ranked(str):
    """The first of several answers to a question, which are in `answers`, the best one first."""

    answers: tuple[str, ...]

    @classmethod
    def of(cls, answers: Sequence[str]) -> Ranked:
        first = cls(answers[0])
        first.answers = tuple(answers)
        return first


def ranked(prediction: str) -> tuple[str, ...]:
    """All answers of a prediction, which mostly is just one."""
    return prediction.answers if isinstance(prediction, Ranked) else (prediction,)


def exact_match_at(k: int, predictions: Sequence[str], answers: Sequence[str]) -> float:
    """1 when one of the first k predictions is, letter by letter, one of the answers."""
    return float(any(prediction in answers for prediction in predictions[:k]))


def caption_scores(
    predictions: Mapping[QuestionId, str], answers: Mapping[QuestionId, Sequence[str]]
) -> list[Score]:
    """BLEU-1..4, METEOR, ROUGE-L and CIDEr over the whole corpus, times 100 as published.

    Tokenised by the Penn Treebank tokenizer first, as the official scorer does; that one and
    METEOR are Java programs.

    Raises:
        MissingDependencyError: pycocoevalcap is not installed.
        DataError: there is no Java runtime.
    """
    try:
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.meteor.meteor import Meteor
        from pycocoevalcap.rouge.rouge import Rouge
        from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
    except ImportError as error:
        raise MissingDependencyError(
            'pycocoevalcap', 'eval', "ScanQA's caption metrics"
        ) from error
    if shutil.which('java') is None:
        raise DataError(
            "ScanQA's caption metrics: METEOR and the tokenizer are Java programs, and no "
            'java is on the PATH; install a Java runtime'
        )
    captions = {key: [{'caption': answer} for answer in answers[key]] for key in answers}
    # The library prints its progress; a report's output stays clean of it.
    with contextlib.redirect_stdout(io.StringIO()):
        wanted = PTBTokenizer().tokenize(captions)
        said = PTBTokenizer().tokenize({k: [{'caption': predictions[k]}] for k in answers})
        bleu = Bleu(4).compute_score(wanted, said)[0]
        meteor = Meteor()
        try:
            corpus = {
                **{f'BLEU-{n}': value for n, value in enumerate(bleu, start=1)},
                'METEOR': meteor.compute_score(wanted, said)[0],
                'ROUGE-L': Rouge().compute_score(wanted, said)[0],
                'CIDEr': Cider().compute_score(wanted, said)[0],
            }
        finally:
            meteor.meteor_p.kill()
    return [Score(name, 100.0 * float(value)) for name, value in corpus.items()]
