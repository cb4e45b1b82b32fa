"""Replies, as qa_node publishes and clients read them; ROS-free."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

ECHOED_CHARACTERS = 200
# Of a reply: a thousand tokens of answer are some ten thousand characters.
MAX_REPLY_CHARACTERS = 1_000_000
_KINDS = {'str': (str,), 'int': (int,), 'float': (int, float), 'bool': (bool,)}


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A message on `answer` and `answer/partial`, as JSON, in this order: `ros2 topic echo` cuts a
    long line, and what matters stands before that.

    text: the answer so far. error: why there is none, or why it ends early; else empty.
    note: a limitation of a good answer. stamp, frame_id: of the newest frame it is about.
    frames, tokens: how many the model read. spatial: the least spatial knowledge in any frame's
    merging, 'metric', 'levels' or 'none'. latency_ms, first_word_ms: since qa_node received the
    question. done: whether it is the last reply to this question.
    """

    id: str
    text: str = ''
    error: str = ''
    question: str
    note: str = ''
    stamp: float = 0.0
    frame_id: str = ''
    frames: int = 0
    tokens: int = 0
    spatial: str = 'none'
    first_word_ms: float | None = None
    latency_ms: float = 0.0
    done: bool = True

    def to_json(self) -> str:
        """Text that UTF-8 can hold: halves of surrogate pairs are question marks in it."""
        text = json.dumps(asdict(self), ensure_ascii=False)
        return text.encode(errors='replace').decode()


def parse_reply(data: str) -> dict[str, Any] | None:
    """A reply's fields, each of its kind; None for anything else.

    Any node of the domain may publish on the topic.
    """
    if len(data) > MAX_REPLY_CHARACTERS:
        return None
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    reply = {}
    for field in fields(Reply):
        value = said.get(field.name)
        kind, _, optional = str(field.type).partition(' | ')
        if not (_is_of(value, kind) or (optional and field.name in said and value is None)):
            return None
        reply[field.name] = value
    return reply


def _is_of(value: Any, kind: str) -> bool:
    if not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and kind != 'bool'):
        return False
    return not isinstance(value, int | float) or math.isfinite(value)
