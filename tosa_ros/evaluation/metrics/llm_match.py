"""OpenEQA's LLM-Match: what the judge reads, and what its marks are worth."""

from __future__ import annotations

MARK_TAG = 'Your mark:'


def cut_answer(text: str) -> str:
    """The prediction as the official scorer judges it: without what follows its last period."""
    end = text.rfind('.')
    return text if end < 0 else text[: end + 1]


def parse_mark(output: str) -> int:
    """The mark in a judge's output: all of it, or the integer on the line of 'Your mark:'.

    Raises:
        ValueError: there is no such integer.
    """
    text = output.strip()
    if text.isdigit():
        return int(text)
    _, tag, rest = text.partition(MARK_TAG)
    if not tag:
        raise ValueError(f'no mark in {text[:80]!r}')
    return int(rest.partition('\n')[0])


def mark_value(mark: int) -> float:
    """A mark 1..5 as 0..1; a missing prediction has mark 0 and is worth 0."""
    return (min(max(mark, 1), 5) - 1) / 4
