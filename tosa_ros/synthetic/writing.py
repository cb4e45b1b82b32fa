"""An episode's questions in OpenEQA's schema, and its name there."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

from tosa_ros.files import write_text
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
