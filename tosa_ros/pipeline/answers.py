"""Answer: what was said about frames, what it took, and the same as JSON, a table or a picture."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from tosa_ros.errors import MissingDependencyError
from tosa_ros.merging import METHODS, MergingMethod
from tosa_ros.pipeline.views import View, page_of
from tosa_ros.vlm import Generation, VisualTokens
from tosa_ros.vlm.evidence import Evidence
from tosa_ros.vlm.tokens import note_of

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Answer:
    """An answer, its token counts and its times; or why there is none.

    tokens_before, tokens_after: visual tokens of all frames, without and with merging.
    spatial: the least spatial knowledge in any frame's merging: 'metric', 'levels' or 'none'.
    What a model elsewhere does not tell is None.
    Times are milliseconds; vision_ms is 0 if the frames' tokens were kept from before. Of
        `ask_many` they are this request's share of its batches, of `answer_batch` the batch's.
    note: limits of the answer, such as missing or doubtful depth; empty where there are none.
    prompt_note: the part of it that the prompt's length or its number of frames made.
    evidence: what the answer looked at, where that was asked for.
    id: the request's. frame_ids: each frame's path, or '' of one that came from memory.
    model: the checkpoint's path or id. method, keep: how tokens were merged.
    error: why there is no answer; empty where there is one.
    """

    question: str
    text: str
    tokens_before: int | None = None
    tokens_after: int | None = None
    spatial: str = 'none'
    vision_ms: float | None = None
    prefill_ms: float | None = None
    decode_ms: float | None = None
    new_tokens: int | None = None
    note: str = ''
    prompt_note: str = field(default='', repr=False)
    evidence: Evidence | None = None
    id: str | int = 0
    frame_ids: tuple[str, ...] = ()
    model: str = ''
    method: str = ''
    keep: float | None = None
    error: str = ''
    views: tuple[View, ...] = field(default=(), repr=False, compare=False)
    cause: Exception | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON; with evidence only where there is some."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        plain['frame_ids'] = list(self.frame_ids)
        return plain if self.evidence is None else plain | {'evidence': self.evidence.to_dict()}

    def to_json(self) -> str:
        """As one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def __getstate__(self) -> dict[str, Any]:
        """Without what only this process can show."""
        return {**self.__dict__, 'views': (), 'cause': None}

    def _repr_html_(self) -> str:
        """In a notebook: question, answer, and each frame beside its merged tokens."""
        if self.error:
            lines = [f'no answer: {self.error}']
        else:
            lines = [self._cost(), *self.note.split('; ')] if self.note else [self._cost()]
        return page_of(self.question, self.text, lines, self.views)

    def _cost(self) -> str:
        """What the answer took, as far as it is known."""
        keep = '' if self.keep is None else f' {self.keep:g}'
        tokens = f'{self.tokens_after} of {self.tokens_before} visual tokens'
        parts = [] if self.tokens_after is None else [f'{tokens} ({self.method}{keep})']
        for name in ('vision_ms', 'prefill_ms', 'decode_ms'):
            if getattr(self, name) is not None:
                parts.append(f'{name.removesuffix("_ms")} {getattr(self, name):.0f} ms')
        return ', '.join(parts)


_NOT_PLAIN = ('prompt_note', 'evidence', 'views', 'cause')
_PLAIN = [one.name for one in fields(Answer) if one.name not in _NOT_PLAIN]


def answers_to_dataframe(answers: Iterable[Answer]) -> pandas.DataFrame:
    """A pandas DataFrame with a row for each answer.

    Raises:
        MissingDependencyError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingDependencyError('pandas', 'table', 'a table of answers') from error
    return pandas.DataFrame([answer.to_dict() for answer in answers], columns=_PLAIN)


def method_name(method: MergingMethod) -> str:
    """The name of a method, as options have it."""
    known = {cls: name for name, cls in METHODS.loaded().items()}
    return known.get(type(method), type(method).__name__)


def told(
    question: str,
    tokens: Sequence[VisualTokens],
    generation: Generation,
    method: MergingMethod,
    **more: Any,
) -> Answer:
    """The Answer that a generation is. more: its fields that neither tells."""
    return Answer(
        question=question,
        text=generation.text,
        tokens_before=sum(t.before for t in tokens),
        tokens_after=sum(len(t) for t in tokens),
        spatial=min((t.spatial for t in tokens), key=('none', 'levels', 'metric').index),
        new_tokens=generation.new_tokens,
        note='; '.join(filter(None, (note_of(tokens), generation.note))),
        prompt_note=generation.note,
        evidence=generation.evidence,
        method=method_name(method),
        keep=method.keep,
        **{'prefill_ms': generation.prefill_ms, 'decode_ms': generation.decode_ms, **more},
    )
