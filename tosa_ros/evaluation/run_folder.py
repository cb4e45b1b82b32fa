"""A run's folder: its settings, and for each method the answers so far.

    settings.json  problems.jsonl  made.jsonl  scores.json
    report.md  report.html  plot.png  plot.svg  plot.csv  failure-1.jpg ...
    <label>/method.json  answers.jsonl  predictions.json  values.json  marks.jsonl  marks.json

A folder takes up where it was left, with the same settings or not at all. The parts of a run that
was shared out (`--shard`) are in `shard-1-of-4/` and so on, each a run's folder of its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from tosa_ros.errors import DataError, printable
from tosa_ros.evaluation.journal import Journal
from tosa_ros.files import (
    PARTIAL,
    append_only,
    make_folder,
    read_json,
    refuse_links,
    remove_partials,
    write_json,
)
from tosa_ros.merging import MergingMethod

SETTINGS, METHOD, ANSWERS = 'settings.json', 'method.json', 'answers.jsonl'
PROBLEMS, SHARD = 'problems.jsonl', 'shard-'
PREDICTIONS, VALUES, MARKS, SCORES = (
    'predictions.json',
    'values.json',
    'marks.jsonl',
    'scores.json',
)


def shard_folder(path: Path, shard: str) -> Path:
    """The folder of a shard 'i/n' of the run at `path`."""
    return path / f'{SHARD}{shard.replace("/", "-of-")}'


class RunFolder:
    """Opens or makes a run's folder, for one process at a time.

    Raises:
        DataError: the folder was made with other settings (named), is not a run's folder, or is in
            use by another process.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        if path.exists() and not path.is_dir():
            raise DataError(f'{path}: is a file; wanted a folder for the run')
        make_folder(path)
        refuse_links(path)
        self._lock = self._locked()
        names = [file.name for file in path.iterdir() if PARTIAL not in file.name]
        strange = any(not name.startswith(('.lock', SHARD)) for name in names)
        if strange and not (path / SETTINGS).exists():
            raise DataError(f'{path}: holds other files, and not a run; name a new folder')
        remove_partials(path)
        agree(path / SETTINGS, settings)
        self.settings = settings

    def journal(self, label: str, method: MergingMethod) -> Journal:
        """The answers that a method gave so far, its shards' among them, to be appended to."""
        folder = self.path / label
        make_folder(folder)
        remove_partials(folder)
        agree(folder / METHOD, {'method': type(method).__name__, **asdict(method)})
        journal = Journal(folder / ANSWERS, check_answer)
        known = {record['question_id'] for record in journal.records}
        for path in sorted(self.path.glob(f'{SHARD}*')):
            if not (path / label).is_dir():
                continue
            shard = path.name.removeprefix(SHARD).replace('-of-', '/')
            with (
                RunFolder(path, {**self.settings, 'shard': shard}) as part,
                part.journal(label, method) as theirs,
            ):
                journal.extend([r for r in theirs.records if r['question_id'] not in known])
        return journal

    def answers(self, besides: Collection[str]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """The answers of every method that the folder has, but those labels."""
        for path in sorted(self.path.glob(f'*/{METHOD}')):
            label = path.parent.name
            if label not in besides and not label.startswith(SHARD):
                with Journal(path.parent / ANSWERS, check_answer) as journal:
                    yield label, journal.records

    def close(self) -> None:
        self._lock.close()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _locked(self) -> IO[bytes]:
        import fcntl

        lock = open(append_only(self.path / '.lock'), 'wb', buffering=0)  # noqa: SIM115
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise DataError(f'{self.path}: another process works on this run') from error
        return lock


def check_settings(path: Path, settings: dict[str, Any]) -> None:
    """Raises DataError if there is a run in the folder that was made with other settings."""
    if (path / SETTINGS).is_file():
        refuse_links(path)
        agree(path / SETTINGS, settings)


def check_answer(record: dict[str, Any]) -> None:
    """Raises ValueError for an answer's record with fields of another kind than ours."""
    for name in ('question_id', 'answer'):
        if name not in record:
            raise ValueError(f'it lacks {name}')
    for name, value in record.items():
        kinds = {'question_id': (int, str), 'answer': (str,), 'spatial': (str,)}.get(name, ())
        number = isinstance(value, int | float) and math.isfinite(value)
        if isinstance(value, bool) or not (isinstance(value, kinds) if kinds else number):
            if name == 'first_word_ms' and value is None:  # Not one word came.
                continue
            raise ValueError(f'{printable(name, 40)} is {printable(repr(value), 40)}')


def agree(path: Path, settings: dict[str, Any]) -> None:
    """Writes settings, or checks that they are what the file says."""
    settings = json.loads(json.dumps(settings))
    if not path.exists():
        write_json(path, settings)
        return
    before = read_json(path)
    if not isinstance(before, dict):
        raise DataError(f'{path}: not what a run writes; name another --out')
    for name in sorted(before.keys() | settings.keys()):
        if before.get(name) != settings.get(name):
            raise DataError(
                f'{path}: this run was made with {name}={printable(repr(before.get(name)))}, not '
                f'{settings.get(name)!r}; name another --out or go back to that setting'
            )
