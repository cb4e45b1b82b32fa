"""The words in a reply: models think first, and some keep their thoughts in the text."""

from __future__ import annotations

import re
from typing import Any

_THOUGHT = r'(?:think|thinking|thought|reasoning)'
_OPENED = re.compile(rf'<{_THOUGHT}>|\[THINK\]', re.IGNORECASE)
_CLOSED = re.compile(rf'</{_THOUGHT}>|\[/THINK\]', re.IGNORECASE)


def reply_text(message: Any) -> str:
    """The words of a chat completion's message; its `reasoning_content` is none of them.

    Raises:
        TypeError, KeyError, AttributeError: it is no message.
    """
    content = message.get('content')
    if content is None:
        return ''
    if isinstance(content, list):
        return ''.join(part['text'] for part in content if part['type'] == 'text')
    if not isinstance(content, str):
        raise TypeError('the content is no text')
    return content


def without_thinking(text: str) -> str:
    """What a model says after it has thought; '' where it did not come to an end of that."""
    # Templates that open the thoughts themselves leave only their end in the reply.
    said = _CLOSED.split(text)[-1]
    return '' if _OPENED.search(said) else said.strip()
