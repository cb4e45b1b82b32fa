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
_POSE_NUMBERS = 7


@dataclass(frozen=True)
class View:
    """What a frame was seen from: its stamp, the camera's frame, and where that was.

    pose: of the camera in the map: x, y, z in metres and a quaternion x, y, z, w; None: not known.
    """

    stamp: float
    frame_id: str
    pose: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A message on `answer` and `answer/partial`, as JSON, in this order: `ros2 topic echo` cuts a
    long line, and what matters stands before that.

    text: the answer so far. error: why there is none, or why it ends early; else empty.
    note: a limitation of a good answer. stamp, frame_id: of the newest frame it is about.
    frames, tokens: how many the model read. spatial: the least spatial knowledge in any frame's
    merging, 'metric', 'levels' or 'none'. latency_ms, first_word_ms: since qa_node received the
    question. done: whether it is the last reply to this question.
    views: of the frames that the model read, the oldest first; in the last reply alone. map_frame:
    the frame of their poses. no_pose: why one is not known; empty where all are.
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
    map_frame: str = ''
    no_pose: str = ''
    views: tuple[View, ...] = ()

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
    return _fields(Reply, said)


def _fields(kind: type, said: Any) -> dict[str, Any] | None:
    """The fields of a Reply or a View; None where one lacks or is of another kind."""
    if not isinstance(said, dict):
        return None
    found = {}
    for field in fields(kind):
        value = said.get(field.name)
        name, _, optional = str(field.type).partition(' | ')
        if not (_is_of(value, name) or (optional and field.name in said and value is None)):
            return None
        found[field.name] = value
    return found


def _is_of(value: Any, kind: str) -> bool:
    if kind == 'tuple[View, ...]':
        return isinstance(value, list) and all(_fields(View, one) for one in value)
    if kind == 'tuple[float, ...]':
        numbers = isinstance(value, list) and all(_is_of(one, 'float') for one in value)
        return numbers and len(value) == _POSE_NUMBERS
    if not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and kind != 'bool'):
        return False
    return not isinstance(value, int | float) or math.isfinite(value)
