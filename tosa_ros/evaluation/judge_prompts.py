"""What a judge is asked: this package's own wording, or the benchmark's from its files.

LLM-Match is only official with OpenEQA's wording, which comes with its repository (`prompts/`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tosa_ros.errors import DataError
from tosa_ros.files import read_text

PLAIN_FILE, EXTRA_FILE = 'mmbench.txt', 'mmbench-extra.txt'
# SHA-256 of the official files, stripped, so that a report can say whether they were used.
OFFICIAL = (
    '52d45f6ab14192af88903d43f2d83f83f1a77b5b6350e9878a8e2fdb640e1cdf',
    '6bd42d3f018277b8cded4b94892032cae1dd828d6a09d64918475b4530c7ce67',
)

_TASK = """\
You grade answers to questions about a place that somebody has seen.
Compare the response with the reference answer{or_others} and judge its meaning, not its wording.
Reply with one whole number from 1 to 5 and nothing else: 5 if the response says the same, \
1 if it is wrong, 2 to 4 if it is partly right.

Question: {{question}}
Answer: {{answer}}
{others}Response: {{prediction}}"""


@dataclass(frozen=True)
class JudgePrompts:
    """Templates with {question}, {answer}, {prediction} and, in `extra`, {extra_answers}."""

    plain: str = _TASK.format(or_others='', others='')
    extra: str = _TASK.format(
        or_others=' and the extra answers, any of which is right',
        others='Extra Answers: {extra_answers}\n',
    )

    @classmethod
    def from_folder(cls, folder: Path) -> JudgePrompts:
        """Reads `mmbench.txt` and `mmbench-extra.txt`, as OpenEQA's repository has them."""
        texts = []
        for name in (PLAIN_FILE, EXTRA_FILE):
            texts.append(read_text(folder / name).strip())
        prompts = cls(*texts)
        try:
            prompts.fill('q', ['a', 'b'], 'p')
            prompts.fill('q', ['a'], 'p')
        except (KeyError, IndexError, ValueError) as error:
            raise DataError(
                f'{folder}: a judge prompt has a field that is not question, answer, '
                f'extra_answers or prediction: {error}'
            ) from error
        return prompts

    @property
    def official(self) -> bool:
        """Whether these are OpenEQA's own words."""
        digests = (hashlib.sha256(t.encode()).hexdigest() for t in (self.plain, self.extra))
        return tuple(digests) == OFFICIAL

    def fill(self, question: str, answers: list[str], prediction: str) -> str:
        """The prompt for one prediction; answers after the first are the extra ones."""
        if len(answers) == 1:
            return self.plain.format(question=question, answer=answers[0], prediction=prediction)
        return self.extra.format(
            question=question,
            answer=answers[0],
            extra_answers=list(answers[1:]),
            prediction=prediction,
        )
