"""VqaPipeline: frames and a question -> an answer. The offline Python API."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch

from tosa_ros.errors import FrameError
from tosa_ros.frames import Frame
from tosa_ros.merging import MergingMethod
from tosa_ros.vlm import Answerer, Generation, VisionEncoder, VisualTokens
from tosa_ros.vlm.evidence import Evidence
from tosa_ros.vlm.options import Answering, AnswerOptions
from tosa_ros.vlm.prompt import check_question
from tosa_ros.vlm.tokens import note_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

Request = tuple['Frame | Sequence[Frame]', str]


@dataclass(frozen=True)
class Answer:
    """An answer, its token counts and its times.

    tokens_before, tokens_after: visual tokens of all frames, without and with merging.
    spatial: the least spatial knowledge in any frame's merging: 'metric', 'levels' or 'none'.
    Times are milliseconds; vision_ms is 0 if the frames' tokens were kept from before.
    What a model elsewhere does not tell is None.
    note: limits of the answer, such as missing or doubtful depth; empty where there are none.
    evidence: what the answer looked at, where that was asked for.
    """

    question: str
    text: str
    tokens_before: int | None
    tokens_after: int | None
    spatial: str
    vision_ms: float | None
    prefill_ms: float | None
    decode_ms: float | None
    new_tokens: int | None
    note: str = ''
    evidence: Evidence | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON; with evidence only where there is some."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        evidence = plain.pop('evidence')
        return plain if evidence is None else {**plain, 'evidence': evidence.to_dict()}


class VqaPipeline:
    """Asks a LLaVA-style model about RGB-D frames.

    A frame's visual tokens are kept as long as the frame lives, so that further questions about
    it cost no vision work. Changing `merging` makes new ones.
    """

    def __init__(self, encoder: VisionEncoder, answerer: Answerer) -> None:
        self.encoder = encoder
        self.answerer = answerer
        self._tokens: WeakKeyDictionary[Frame, tuple[MergingMethod, VisualTokens]] = (
            WeakKeyDictionary()
        )

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        *,
        merging: MergingMethod | None = None,
        device: str = 'cpu',
        dtype: torch.dtype | None = None,
        tiles: bool = False,
    ) -> VqaPipeline:
        """Loads both halves of a checkpoint folder or hub id.

        merging: by default ToSA(keep=0.25). dtype: by default the checkpoint's own. tiles: whether
        frames are cut into the tiles that its image processor makes.
        Raises ModelError for what cannot be found, read or used.
        """
        return cls(
            VisionEncoder.from_pretrained(
                path_or_id, merging=merging, device=device, dtype=dtype, tiles=tiles
            ),
            Answerer.from_pretrained(path_or_id, device=device, dtype=dtype),
        )

    @property
    def merging(self) -> MergingMethod:
        return self.encoder.merging

    @merging.setter
    def merging(self, method: MergingMethod) -> None:
        self.encoder.merging = method

    def visual_tokens(self, frames: Frame | Sequence[Frame]) -> list[VisualTokens]:
        """The frames' visual tokens, encoded now or kept from an earlier question."""
        frames = _sequence(frames)
        method = self.merging
        new = [f for f in dict.fromkeys(frames) if self._kept(f, method) is None]
        for frame, tokens in zip(new, self.encoder.encode(new), strict=True):
            self._tokens[frame] = (method, tokens)
        return [self._kept(f, method) for f in frames]

    def ask(
        self,
        frames: Frame | Sequence[Frame],
        question: str,
        **options: Unpack[AnswerOptions],
    ) -> Answer:
        """The answer to a question about one frame or several, in their order.

        options: max_new_tokens and the other fields of `Answering`.
        """
        return self.answer_batch([(frames, question)], **options)[0]

    def stream(
        self,
        frames: Frame | Sequence[Frame],
        question: str,
        **options: Unpack[AnswerOptions],
    ) -> Generator[str, None, Answer]:
        """Pieces of the answer as they come; together they are `ask(...).text`.

        The frames are encoded before this returns. The generator's return value is the Answer.
        """
        check_question(question)
        Answering(**options)
        frames = _sequence(frames)
        known = self._all_kept([frames])
        start = time.perf_counter()
        tokens = self.visual_tokens(frames)
        vision_ms = 0.0 if known else 1e3 * (time.perf_counter() - start)
        pieces = self.answerer.stream(tokens, question, **options)
        return _told(question, tokens, vision_ms, pieces)

    def answer_batch(
        self, requests: Sequence[Request], **options: Unpack[AnswerOptions]
    ) -> list[Answer]:
        """Answers several (frames, question) requests in one padded batch.

        The texts are the same as one by one. Times are those of the whole batch.
        """
        for _, question in requests:
            check_question(question)
        Answering(**options)
        if not requests:
            return []
        frames = [_sequence(f) for f, _ in requests]
        known = self._all_kept(frames)
        start = time.perf_counter()
        tokens = [self.visual_tokens(group) for group in frames]
        vision_ms = 0.0 if known else 1e3 * (time.perf_counter() - start)
        questions = [question for _, question in requests]
        generations = self.answerer.answer_batch(
            list(zip(tokens, questions, strict=True)), **options
        )
        return [
            _answer(question, group, vision_ms, generation)
            for question, group, generation in zip(questions, tokens, generations, strict=True)
        ]

    def _all_kept(self, groups: Sequence[Sequence[Frame]]) -> bool:
        return all(self._kept(f, self.merging) for group in groups for f in group)

    def _kept(self, frame: Frame, method: MergingMethod) -> VisualTokens | None:
        made_by, tokens = self._tokens.get(frame, (None, None))
        return tokens if made_by == method else None


def _sequence(frames: Frame | Sequence[Frame]) -> list[Frame]:
    frames = [frames] if isinstance(frames, Frame) else list(frames)
    if not frames:
        raise FrameError('no frames: a question needs at least one')
    return frames


def _told(
    question: str,
    tokens: list[VisualTokens],
    vision_ms: float,
    pieces: Generator[str, None, Generation],
) -> Generator[str, None, Answer]:
    generation = yield from pieces
    return _answer(question, tokens, vision_ms, generation)


def _answer(
    question: str, tokens: list[VisualTokens], vision_ms: float, generation: Generation
) -> Answer:
    return Answer(
        question=question,
        text=generation.text,
        tokens_before=sum(t.before for t in tokens),
        tokens_after=sum(len(t) for t in tokens),
        spatial=min((t.spatial for t in tokens), key=('none', 'levels', 'metric').index),
        vision_ms=vision_ms,
        prefill_ms=generation.prefill_ms,
        decode_ms=generation.decode_ms,
        new_tokens=generation.new_tokens,
        note=note_of(tokens),
        evidence=generation.evidence,
    )
