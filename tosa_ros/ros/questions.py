"""Questions as they come in; ROS-free."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass

from tosa_ros.errors import QuestionError
from tosa_ros.ros.replies import ECHOED_CHARACTERS, Reply
from tosa_ros.vlm.prompt import MAX_QUESTION_CHARACTERS, check_question

# JSON may write a character as six or, beyond the first plane, twelve.
MAX_JSON_CHARACTERS = 12 * MAX_QUESTION_CHARACTERS + 1000


@dataclass(frozen=True)
class Question:
    """A question, and the id by which to recognise its answers."""

    id: str
    text: str


def parse_question(data: str) -> Question:
    """A question from plain text or JSON {"id", "text"}; one without an id gets one.

    Raises:
        QuestionError: JSON that does not parse or has no text; no words; too many; no UTF-8.
    """
    if len(data) > MAX_JSON_CHARACTERS:
        raise QuestionError(
            f'question: {len(data):,} characters; at most {MAX_QUESTION_CHARACTERS:,} are read'
        )
    fields: object = {'text': data}
    if data.lstrip().startswith('{'):
        try:
            fields = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise QuestionError(
                f'question: it begins like JSON but is not: {error}; wanted plain text or '
                '{"id": ..., "text": ...}'
            ) from error
    text, name = fields.get('text'), fields.get('id')
    if not isinstance(text, str) or not isinstance(name, str | int | None):
        raise QuestionError('question: wanted JSON {"id": text or number, "text": text}')
    check_question(text)
    return Question(uuid.uuid4().hex[:8] if name is None else str(name)[:100], text.strip())


def refusal(data: str, reason: str) -> Reply:
    """The reply to a question that could not even be parsed; its id is kept where it has one."""
    try:
        name = str(json.loads(data)['id'])[:100]
    except (ValueError, RecursionError, KeyError, TypeError):
        name = ''
    return Reply(id=name, question=data[:ECHOED_CHARACTERS], error=reason)
