"""Episodes as files: frames in OpenEQA's folder layout, questions in OpenEQA's schema, or a bag.

Every folder is written beside its place and then renamed, so what is there is whole.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path

from tosa_ros.errors import DataError
from tosa_ros.files import whole_folder, write_text
from tosa_ros.frame_folder import write_folder
from tosa_ros.synthetic.episodes import Episode

BENCHMARK = 'tinyworld-v0'  # the part of OpenEQA's episode_history before the slash


def episode_history(split: str, index: int) -> str:
    """OpenEQA's name of an episode, which is its folder's under the frames' root."""
    return f'{BENCHMARK}/{split}-{index:06d}'


def question_records(history: str, episode: Episode) -> list[dict[str, str]]:
    """An episode's questions in OpenEQA's schema, each with an id made from its text."""
    return [
        {
            'question': question.text,
            'answer': question.answer,
            'category': question.category,
            'question_id': str(uuid.uuid5(uuid.NAMESPACE_URL, f'{history} {question.text}')),
            'episode_history': history,
        }
        for question in episode.questions
    ]


def write_questions(path: Path, records: list[dict[str, str]]) -> None:
    """Writes an OpenEQA question file.

    Raises:
        DataError: the file cannot be written.
    """
    write_text(path, json.dumps(records, indent=1) + '\n')


def write_frames(folder: Path, episode: Episode) -> None:
    """An episode's frames in OpenEQA's layout, depth in millimetres (see `frame_folder`).

    Raises:
        DataError: the folder is there already or cannot be written.
    """
    into_place(folder, lambda place: write_folder(place, episode.frames))


def into_place(path: Path, write: Callable[[Path], None]) -> None:
    """Calls `write` with a path that does not exist, and renames what it made to `path`.

    Raises:
        DataError: `path` is there already, or cannot be written.
    """
    if path.exists():
        raise DataError(f'{path}: is there already; name another --out or remove it')
    with whole_folder(path) as place:
        write(place)
