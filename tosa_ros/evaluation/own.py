"""Questions that people write themselves, with options or without: how asked, and how scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from tosa_ros.errors import DataError
from tosa_ros.evaluation.metrics.choice import choice_match, chosen, listed, options_of
from tosa_ros.evaluation.metrics.score import Score
from tosa_ros.evaluation.metrics.text import exact_match, token_f1
from tosa_ros.evaluation.questions import (
    EXACT,
    F1,
    FOR_CHOICES,
    Benchmark,
    Defaults,
    Predictions,
    Question,
)
from tosa_ros.evaluation.records import answers_of, field, several

MIXED = 'Right answers (exact match, or choice)'
CHOICE = 'Choice accuracy (letter or text)'


class OwnQuestions(Benchmark):
    """A benchmark whose questions are made by `own_question`."""

    template: ClassVar[str] = '{question}'
    defaults: ClassVar[Defaults] = Defaults(judged=True)

    def prompt(self, question: Question, template: str | None = None) -> str:
        """The question, with its options where it does not list them itself."""
        options = listed(question.details.get('options', {}))
        asked = '\n'.join([question.text, options, FOR_CHOICES]) if options else question.text
        return (template or self.template).replace('{question}', asked)

    def score(self, predictions: Predictions) -> list[Score]:
        """Choices by what was chosen, other questions by their words; both first, if there are."""
        choices = [q for q in self.scored if 'options' in q.details]
        others = [q for q in self.scored if 'options' not in q.details]
        scores = []
        if choices and others:
            scores.append(self.score_each(MIXED, predictions, _is_right))
        if choices:
            scores.append(self.score_each(CHOICE, predictions, _is_right, choices))
        if others:
            scores += [
                self.score_by(EXACT, predictions, exact_match, others),
                self.score_by(F1, predictions, token_f1, others),
            ]
        return scores

    def guessing(self) -> dict[str, float]:
        """An even chance among the options, where every question has some."""
        chances: dict[str, list[float]] = {}
        for question in self.questions:
            if 'options' not in question.details:
                return {}
            right = len(question.details['right']) or 1
            chance = 100 * right / len(question.details['options'])
            for name in (question.category, 'all'):
                chances.setdefault(name, []).append(chance)
        return {name: sum(some) / len(some) for name, some in chances.items()}


def _is_right(said: str, question: Question) -> float:
    if 'options' not in question.details:
        return exact_match(said, question.answers)
    return choice_match(said, question.details['right'], question.details['options'])


def own_question(
    record: dict[str, Any],
    index: int,
    episode: str,
    where: str,
    *,
    id_field: str = 'id',
    also: Sequence[str] = (),
    **details: Any,
) -> Question:
    """A question of a record: `question`, and perhaps `options`, `answer`, `category` and an id.

    Args:
        index: the id of a record without one.
        also: more answers that are right, where there is one.
        details: of the question, beside its options.
    """
    answers = answers_of(record, where)
    answers += tuple(also) if answers else ()
    if record.get('options') is not None:
        answers, choice = _choice(record, answers, where)
        details |= choice
    return Question(
        id=field(record, id_field, (int, str), where) if id_field in record else index,
        text=field(record, 'question', str, where),
        answers=answers,
        category=field(record, 'category', str, where) if 'category' in record else '',
        episode=episode,
        details=details,
    )


def _choice(
    record: dict, answers: Sequence[str], where: str
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The right options in full, and the details of a question with options."""
    values = several(record, 'options', where)
    try:
        options = options_of(values)
    except ValueError as error:
        raise DataError(f"{where}: field 'options': {error}") from error
    right = []
    for answer in answers:
        letter = chosen(answer, options)
        if letter is None:
            raise DataError(
                f"{where}: field 'answer' is {answer!r}; wanted the letter or the text of one of "
                f'the options {", ".join(map(repr, values))}'
            )
        right.append(letter)
    full = tuple(f'{letter}. {options[letter]}'.removesuffix('. ') for letter in right)
    return full, {'options': options, 'right': tuple(right)}
