"""Questions about a bag: which of its images each is about, and when it would be asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tosa_ros.errors import DataError
from tosa_ros.evaluation.own import OwnQuestions, own_question
from tosa_ros.evaluation.questions import Question
from tosa_ros.evaluation.records import field, records, texts
from tosa_ros.files import read_json
from tosa_ros.frames import Frame
from tosa_ros.sources import FrameSource
from tosa_ros.sources.bags.reading import RELATIVE_BEFORE_S, BagFrames

AFTER_END_S = 1.0
WHOLE = 'the whole bag'


class BagQuestions(OwnQuestions):
    """A list of {"question", "answer"?, "options"?, "time"?, "id"?, "category"?}, or OpenEQA's.

    A question with a time (seconds after the bag's first image, or a stamp) is about what had
    been seen by then; one without, about the whole bag. One without an answer is asked and not
    scored.
    """

    name: ClassVar[str] = 'replay'

    def __init__(
        self, questions: Sequence[Question], bag: BagFrames, problems: Sequence[str] = ()
    ) -> None:
        super().__init__(questions, problems)
        self.bag = bag
        self._times = {q.episode: q.details['time'] for q in self.questions}

    @classmethod
    def load(cls, data: Path, bag: BagFrames) -> BagQuestions:
        """Reads the questions that are about this bag."""
        found = records(read_json(data), data)
        episodes = {str(r['episode_history']) for r in found if 'episode_history' in r}
        mine = {e for e in episodes if e.rpartition('/')[2] == bag.path.stem}
        questions, elsewhere = [], Counter()
        for index, record in enumerate(found):
            where = f'{data}: record {index}'
            episode = record.get('episode_history')
            # A file about one episode is about this bag, whatever the two are called.
            if episode is not None and len(episodes) > 1 and episode not in mine:
                elsewhere[episode] += 1
                continue
            questions.append(_question(record, index, where))
        if not questions:
            raise DataError(f'{data}: none of its {len(found)} questions is about {bag.path.stem}')
        problems = [
            f'{data}: {count} questions are about {episode}, not {bag.path.stem}: not asked'
            for episode, count in elsewhere.items()
        ]
        return cls(questions, bag, problems)

    def frames(self, episode: str) -> Sequence[Frame]:
        time_s = self._times[episode]
        return self.bag if time_s is None else _Beginning(self.bag, self._seen_by(time_s))

    def asked_at(self, question: Question) -> float | None:
        """The bag's own time (seconds) of a question, when it is played; None: after its end.

        Raises:
            DataError: a time before the first image, or after the bag's end.
        """
        time_s = question.details['time']
        if time_s is None:
            return None
        last, moment = self._seen_by(time_s) - 1, self._moment(time_s)
        return float(self.bag.received_s[last] + moment - self.bag.stamps_s[last])

    def _seen_by(self, time_s: float) -> int:
        """How many images the bag has by a time."""
        # A microsecond more, for a time that was written with fewer digits than the stamp.
        moment = self._moment(time_s) + 1e-6
        return int(np.searchsorted(self.bag.stamps_s, moment, side='right'))

    def _moment(self, time_s: float) -> float:
        """A question's time as a stamp (seconds)."""
        stamps = self.bag.stamps_s
        first, last = stamps[0], stamps[-1]
        absolute = time_s >= RELATIVE_BEFORE_S
        if absolute and self.bag.has_relative_stamps:
            raise DataError(
                f'time {time_s:.3f} is a date, but the stamps of {self.bag.path.name} count from '
                f'a start ({first:.3f} to {last:.3f} s): give seconds after its first image'
            )
        moment = time_s if absolute else first + time_s
        if not first <= moment <= last + AFTER_END_S:
            raise DataError(
                f'time {time_s:.3f}: outside of {self.bag.path.name}, whose images are of '
                f'{first:.3f} to {last:.3f} s ({last - first:.3f} s in all)'
            )
        return moment


class _Beginning(FrameSource):
    """The first frames of a bag."""

    def __init__(self, bag: BagFrames, count: int) -> None:
        self.bag, self.count, self.notes = bag, count, bag.notes

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Frame:
        return self.bag[range(self.count)[index]]

    def pick(self, indices: Sequence[int]) -> list[Frame]:
        return self.bag.pick([range(self.count)[index] for index in indices])


def _question(record: dict[str, Any], index: int, where: str) -> Question:
    time_s = record.get('time')
    if time_s is not None:
        time_s = float(field(record, 'time', (int, float), where))
    return own_question(
        record,
        index,
        WHOLE if time_s is None else f'what was seen by {time_s!r} s',
        where,
        id_field='id' if 'id' in record else 'question_id',
        also=texts(record, 'extra_answers', where) if record.get('extra_answers') else (),
        time=time_s,
    )
