"""AnswerFile: answers as JSON Lines, to which a later run adds what is lacking."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tosa_ros.errors import DataError
from tosa_ros.evaluation.journal import Journal
from tosa_ros.evaluation.run_folder import agree
from tosa_ros.files import append_only

if TYPE_CHECKING:
    from tosa_ros.pipeline import Answer, Request


class AnswerFile:
    """Opens or makes a file of answers, for one process at a time; kill -9 loses none of it.

    Beside it, NAME.settings.json says what its answers depend on.

    Raises:
        DataError: the file was made with other settings (named), holds anything else, or is in
            use by another process.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        if path.is_dir():
            raise DataError(f'{path}: is a folder; wanted a file for the answers')
        beside = path.with_suffix('.settings.json')
        if path.exists() and path.stat().st_size and not beside.exists():
            raise DataError(f'{path}: holds something else; name a new file')
        self._lock = append_only(path)
        try:
            self._hold()
            agree(beside, settings)
            self._journal = Journal(path, _check)
        except BaseException:
            os.close(self._lock)
            raise
        self._done = {str(record['id']): record['question'] for record in self._journal.records}

    def open_ones(self, requests: Iterable[Request]) -> list[Request]:
        """The requests that have no answer yet.

        Raises:
            DataError: an id that has an answer to another question.
        """
        left = []
        for request in requests:
            question = self._done.get(str(request.id))
            if question is None:
                left.append(request)
            elif question != request.question:
                raise DataError(
                    f'{self.path}: id {request.id!r} has the answer to {question!r}, not to '
                    f'{request.question!r}; name another --out'
                )
        return left

    def append(self, answer: Answer) -> None:
        """Writes an answer and waits until the disk has it."""
        self._journal.append(answer.to_dict())

    def close(self) -> None:
        self._journal.close()
        os.close(self._lock)

    def __enter__(self) -> AnswerFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hold(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataError(f'{self.path}: another process writes to it') from error


def _check(record: dict[str, Any]) -> None:
    """Raises ValueError for what is no answer."""
    for name in ('id', 'question', 'text'):
        if name not in record:
            raise ValueError(f'it lacks {name}')
