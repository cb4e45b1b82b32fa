"""Conversation: questions about the same frames, each of which knows the ones before it."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from tosa_ros.errors import QuestionError
from tosa_ros.pipeline.answers import Answer
from tosa_ros.vlm.options import AnswerOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from tosa_ros.pipeline.vqa import VqaPipeline


class Conversation:
    """A talk about some frames.

    What the language model has read and said is kept, so that each question costs only its own
    words, as long as the pipeline answers no other question in between (that costs time alone).

    history: the questions and answers so far; it may be shortened.
    """

    def __init__(
        self, pipeline: VqaPipeline, frames: Any, options: AnswerOptions, images: int
    ) -> None:
        if 'history' in options:
            raise QuestionError('history: a conversation has its own; leave it out')
        self.history: list[tuple[str, str]] = []
        self._pipeline, self._frames, self._options = pipeline, frames, options
        pipeline.answerer.prompt.prepare(images, options.get('system', ''))

    def ask(self, question: str, **options: Unpack[AnswerOptions]) -> Answer:
        """The answer to the next question. options: as of `VqaPipeline.ask`, for this one."""
        answer = self._pipeline.ask(self._frames, question, **self._all(options))
        self.history.append((question, answer.text))
        return answer

    def stream(
        self, question: str, **options: Unpack[AnswerOptions]
    ) -> Generator[str, None, Answer]:
        """Pieces of the answer to the next question, as `VqaPipeline.stream` gives them.

        An answer that is not waited for to its end is no part of the talk.
        """
        pieces = self._pipeline.stream(self._frames, question, **self._all(options))
        return self._kept(question, pieces)

    def _kept(
        self, question: str, pieces: Generator[str, None, Answer]
    ) -> Generator[str, None, Answer]:
        answer = yield from pieces
        self.history.append((question, answer.text))
        return answer

    def _all(self, options: AnswerOptions) -> AnswerOptions:
        return {'history': tuple(self.history), **self._options, **options}
