"""VqaPipeline: frames and a question -> an answer; a stream of requests -> a stream of answers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

import torch

from tosa_ros.errors import QuestionError
from tosa_ros.frames import Frame
from tosa_ros.merging import MergingMethod
from tosa_ros.pipeline.answers import Answer, told
from tosa_ros.pipeline.batching import FRAMES_PER_BATCH, LocalEngine
from tosa_ros.pipeline.conversation import Conversation
from tosa_ros.pipeline.many import OnError, Progress, answered
from tosa_ros.pipeline.requests import Engine
from tosa_ros.pipeline.views import View
from tosa_ros.settings import AUTO
from tosa_ros.sources.given import Given, Part, gathered
from tosa_ros.vlm import Answerer, Generation, VisionEncoder, VisualTokens
from tosa_ros.vlm.options import Answering, AnswerOptions
from tosa_ros.vlm.prompt import check_question
from tosa_ros.vlm.weights import OF_A_TOWER

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from tosa_ros.vlm.weights import MappedWeightOptions

REMEMBERED = 8  # paths and pictures whose frames are kept for the next question about them
REMEMBERED_FRAMES = 16  # of one of those


class VqaPipeline:
    """Asks a LLaVA-style model about RGB-D frames.

    Wherever frames are wanted, anything does that `tosa_ros.sources.frames_of` takes: a Frame,
    the path of an image or a folder, (video, seconds), a PIL image, an array, or several of them.

    A frame's visual tokens are kept as long as the frame lives, so that further questions about
    it cost no vision work; of paths and pictures, the latest few. Changing `merging` makes new
    ones.
    """

    def __init__(self, encoder: VisionEncoder, answerer: Answerer, model: str = '') -> None:
        """model: what answers call the checkpoint."""
        self.encoder = encoder
        self.answerer = answerer
        self.model = model
        self._given: OrderedDict[Any, Given] = OrderedDict()
        self._turn = threading.Lock()
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
        trained_frames: int | None = None,
        tower: str | Path | None = None,
        compile: bool = False,
        **weights: Unpack[MappedWeightOptions],
    ) -> VqaPipeline:
        """Loads both halves of a checkpoint folder or hub id.

        merging: by default ToSA(keep=0.25), or that of `tower`. dtype: by default the checkpoint's
        own. tiles: whether frames are cut into the tiles that its image processor makes.
        trained_frames: the largest number of frames that the model was trained on; see
        `Answerer.from_pretrained`. tower: a file that `tosa export` made, in place of the vision
        half, so that quantize and attn_implementation hold for the language model. compile:
        whether torch.compile speeds up the tower, after a slow first frame
        (`VisionEncoder.compile`). weights: quantize, attn_implementation, revision and device_map
        (of the language model), as `Weights` has them. Raises ModelError for what cannot be
        found, read or used.
        """
        unseen = ('device_map', *(OF_A_TOWER if tower else ()))
        seeing = {name: value for name, value in weights.items() if name not in unseen}
        return cls(
            VisionEncoder.from_pretrained(
                path_or_id,
                merging=merging,
                device=device,
                dtype=dtype,
                tiles=tiles,
                tower=tower,
                compile=compile,
                **seeing,
            ),
            Answerer.from_pretrained(
                path_or_id,
                device=device,
                dtype=dtype,
                trained_frames=trained_frames,
                **weights,
            ),
            str(path_or_id),
        )

    @property
    def merging(self) -> MergingMethod:
        return self.encoder.merging

    @merging.setter
    def merging(self, method: MergingMethod) -> None:
        self.encoder.merging = method

    def visual_tokens(self, frames: Any) -> list[VisualTokens]:
        """The frames' visual tokens, encoded now or kept from an earlier question."""
        return self._seen(self._frames(frames).frames)

    def encode(self, frames: Sequence[Frame], batch: int) -> list[VisualTokens]:
        """The same, `batch` frames at a time; what is encoded now is not kept."""
        method = self.merging
        new = [f for f in dict.fromkeys(frames) if self._kept(f, method) is None]
        made = dict(zip(new, self.encoder.encode(new, batch), strict=True))
        return [made.get(f) or self._kept(f, method) for f in frames]

    def ask(self, frames: Any, question: str, **options: Unpack[AnswerOptions]) -> Answer:
        """The answer to a question about one frame or several, in their order.

        options: max_new_tokens and the other fields of `Answering`.
        """
        return self.answer_batch([(frames, question)], **options)[0]

    async def aask(self, frames: Any, question: str, **options: Unpack[AnswerOptions]) -> Answer:
        """`ask` in a thread. Questions that are asked at the same time wait for each other."""
        return await asyncio.to_thread(self._in_turn, frames, question, **options)

    def stream(
        self, frames: Any, question: str, **options: Unpack[AnswerOptions]
    ) -> Generator[str, None, Answer]:
        """Pieces of the answer as they come; together they are `ask(...).text`.

        The frames are encoded before this returns. The generator's return value is the Answer.
        """
        check_question(question)
        Answering(**options)
        given = self._frames(frames)
        known = self._all_kept(given.frames)
        start = time.perf_counter()
        tokens = self._seen(given.frames)
        vision_ms = 0.0 if known else 1e3 * (time.perf_counter() - start)
        pieces = self.answerer.stream(tokens, question, **options)
        return self._streamed(pieces, question, given, tokens, vision_ms)

    def chat(self, frames: Any, **options: Unpack[AnswerOptions]) -> Conversation:
        """A talk about frames, of which each question knows the ones before it.

        options: as of `ask`, for all questions, such as system='Answer in one word.'.
        Raises QuestionError for a model that was made for single questions.
        """
        Answering(**options)
        given = self._frames(frames)
        return Conversation(self, given.frames, options, len(given.frames))

    def answer_batch(
        self, requests: Iterable[tuple[Any, str]], **options: Unpack[AnswerOptions]
    ) -> list[Answer]:
        """Answers several (frames, question) requests in one padded batch.

        The texts are the same as one by one. Times are those of the whole batch. For many requests
        see `ask_many`.
        """
        requests = list(requests)
        for _, question in requests:
            check_question(question)
        Answering(**options)
        given = [self._frames(frames) for frames, _ in requests]
        every = [frame for one in given for frame in one.frames]
        known = self._all_kept(every)
        start = time.perf_counter()
        found = iter(self._seen(every))
        tokens = [[next(found) for _ in one.frames] for one in given]
        vision_ms = 0.0 if known else 1e3 * (time.perf_counter() - start)
        questions = [question for _, question in requests]
        generations = self.answerer.answer_batch(
            list(zip(tokens, questions, strict=True)), **options
        )
        return [
            self._told(generation, question, one, seen, vision_ms, number)
            for number, (question, one, seen, generation) in enumerate(
                zip(questions, given, tokens, generations, strict=True)
            )
        ]

    def ask_many(
        self,
        requests: Iterable[Any],
        *,
        batch_size: int | Literal['auto'] = AUTO,
        frames_per_batch: int = FRAMES_PER_BATCH,
        progress: bool | Progress = True,
        on_error: OnError = 'raise',
        engine: Engine | None = None,
        **options: Unpack[AnswerOptions],
    ) -> Iterator[Answer]:
        """Answers any number of requests, in order, as they come.

        Requests are taken a bounded number ahead, and nothing of an answered one is kept, so that
        memory does not grow with their number. Frames are read in threads and encoded in full
        batches across requests, those of neighbouring requests once; questions about the same
        frames are read behind one copy of them.

        Args:
            requests: (frames, question), or mappings of `question`, `frames` or `image`, and
                perhaps `id`; beside `image`, a path, also `depth`, `depth_scale`, `intrinsics`.
            batch_size: questions answered at once; 'auto': as many as fit, at most 64.
            frames_per_batch: frames encoded at once.
            progress: a bar on a terminal's standard error; or called with (done, wanted or None).
            on_error: of a request that cannot be answered, 'raise' the error when its turn comes,
                or 'record' it as an Answer with an `error`.
            engine: who answers instead of this pipeline; how, is then its own affair.
            options: max_new_tokens and the other fields of `Answering`.

        Raises:
            QuestionError: a setting that makes no sense, or one that `engine` would not see.
        """
        own = {'batch_size': batch_size, 'frames_per_batch': frames_per_batch, **options}
        usual = {'batch_size': AUTO, 'frames_per_batch': FRAMES_PER_BATCH}
        unseen = [name for name, value in own.items() if usual.get(name) != value]
        if engine is not None and unseen:
            raise QuestionError(f'{unseen[0]}: the engine does not see it; give it to the engine')
        engine = engine or LocalEngine(self, **own)
        return answered(engine, requests, progress, on_error)

    def _in_turn(self, *args: Any, **more: Any) -> Answer:
        with self._turn:
            return self.ask(*args, **more)

    def _frames(self, value: Any) -> Given:
        """The frames of anything; paths and pictures that were asked about lately, as before."""
        return gathered(value, self._opened)

    def _opened(self, part: Part) -> Given:
        given = self._given.pop(part.key, None) or part.open()
        if part.copies and len(given.frames) <= REMEMBERED_FRAMES:
            self._given[part.key] = given
        while len(self._given) > REMEMBERED:
            self._given.popitem(last=False)
        return given

    def _seen(self, frames: Sequence[Frame]) -> list[VisualTokens]:
        method, seen = self.merging, self.encode(frames, FRAMES_PER_BATCH)
        for frame, tokens in zip(frames, seen, strict=True):
            self._tokens[frame] = (method, tokens)
        return seen

    def _all_kept(self, frames: Sequence[Frame]) -> bool:
        return all(self._kept(f, self.merging) for f in frames)

    def _kept(self, frame: Frame, method: MergingMethod) -> VisualTokens | None:
        made_by, tokens = self._tokens.get(frame, (None, None))
        return tokens if made_by == method else None

    def _streamed(
        self, pieces: Generator[str, None, Generation], *about: Any
    ) -> Generator[str, None, Answer]:
        generation = yield from pieces
        return self._told(generation, *about)

    def _told(
        self,
        generation: Generation,
        question: str,
        given: Given,
        tokens: Sequence[VisualTokens],
        vision_ms: float,
        number: int = 0,
    ) -> Answer:
        view = partial(View.of, tiling=self.encoder.tiling, hold=True)
        return told(
            question,
            tokens,
            generation,
            self.merging,
            vision_ms=vision_ms,
            id=number,
            frame_ids=tuple(given.names),
            model=self.model,
            views=tuple(map(view, given.frames, given.names, tokens)),
        )
