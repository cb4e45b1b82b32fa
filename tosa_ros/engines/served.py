"""A model behind an OpenAI-compatible server: vLLM, llama.cpp, Ollama, or somebody's API."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import WeakKeyDictionary

from tosa_ros.endpoint import ChatEndpoint, Reply, Role
from tosa_ros.errors import MergingError, ModelError
from tosa_ros.frames import Frame
from tosa_ros.merging import MergingMethod, NoMerging
from tosa_ros.pipeline import Answer
from tosa_ros.pipeline.many import Batches, OnError, Progress, answered
from tosa_ros.settings import AUTO, MAX_NEW_TOKENS

ROLE = Role('model', 'answer', 'the answer', '--server-timeout', '--max-new-tokens')
TIMEOUT_S = 120.0
QUALITY = 95  # of the JPEGs that are sent
SEED = 0


class ServedPipeline:
    """Asks a model at a server about frames: their colour goes there, and nothing else.

    The server sees whole pictures, so that nothing merges and depth is of no use. Requests of one
    `answer_batch` are sent at the same time, at most `parallel` at once.

    base_url: up to and with the version, as 'http://localhost:8000/v1'.
    api_key: sent as a bearer token; key_source is what messages call it.
    timeout_s: how long nothing may come from the server before it counts as dead.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        key_source: str = 'api_key',
        timeout_s: float = TIMEOUT_S,
        wait_s: float = 1.0,
        parallel: int = 8,
    ) -> None:
        if not model.strip():
            raise ModelError(f'no model is named at {base_url}: give --model')
        if parallel < 1:
            raise ModelError(f'parallel={parallel}; wanted at least 1')
        self.endpoint = ChatEndpoint(
            base_url,
            model,
            ROLE,
            api_key,
            wait_s=wait_s,
            timeout_s=timeout_s,
            key_source=key_source,
        )
        self.model, self.parallel = model, parallel
        self._pictures: WeakKeyDictionary[Frame, str] = WeakKeyDictionary()

    @property
    def host(self) -> str:
        """Host and path of the server, without its port."""
        return self.endpoint.host

    @property
    def merging(self) -> MergingMethod:
        return NoMerging()

    @merging.setter
    def merging(self, method: MergingMethod) -> None:
        if not isinstance(method, NoMerging):
            raise MergingError(f'{method}: a server is sent whole pictures; only none is possible')

    def ask(
        self,
        frames: Frame | Sequence[Frame],
        question: str,
        *,
        max_new_tokens: int = MAX_NEW_TOKENS.default,
    ) -> Answer:
        """The answer to a question about one frame or several, in their order."""
        return self.answer_batch([(frames, question)], max_new_tokens=max_new_tokens)[0]

    def ask_many(
        self,
        requests: Iterable[Any],
        *,
        batch_size: int | str = AUTO,
        max_new_tokens: int = MAX_NEW_TOKENS.default,
        progress: bool | Progress = True,
        on_error: OnError = 'raise',
    ) -> Iterator[Answer]:
        """As `VqaPipeline.ask_many`.

        batch_size: how many are sent before any of them is given out.
        """
        size = self.parallel * 8 if batch_size == AUTO else int(batch_size)
        engine = Batches(self, size, max_new_tokens=max_new_tokens)
        return answered(engine, requests, progress, on_error)

    def answer_batch(
        self,
        requests: Sequence[tuple[Frame | Sequence[Frame], str]],
        *,
        max_new_tokens: int = MAX_NEW_TOKENS.default,
    ) -> list[Answer]:
        """Answers several (frames, question) requests, sent side by side.

        Raises:
            RefusedError: one of them is not answered.
            EndpointError: nor will another be.
        """
        parameters = {'temperature': 0, 'max_tokens': max_new_tokens, 'seed': SEED}
        contents = [self._content(frames, question) for frames, question in requests]
        with ThreadPoolExecutor(min(self.parallel, max(1, len(contents)))) as pool:
            replies = list(pool.map(lambda one: self.endpoint.ask(one, parameters), contents))
        questions = [question for _, question in requests]
        return [self._answer(*pair) for pair in zip(questions, replies, strict=True)]

    def _answer(self, question: str, reply: Reply) -> Answer:
        left_out = ', '.join(self.endpoint.left_out)
        return Answer(
            question=question,
            text=reply.text,
            tokens_before=None,
            tokens_after=None,
            spatial='none',
            vision_ms=None,
            prefill_ms=None,
            decode_ms=None,
            new_tokens=reply.new_tokens,
            note=f"the server's own {left_out}: it refuses ours" if left_out else '',
        )

    def _content(self, frames: Frame | Sequence[Frame], question: str) -> list[dict]:
        pictures = [
            {'type': 'image_url', 'image_url': {'url': self._picture(frame)}}
            for frame in ([frames] if isinstance(frames, Frame) else frames)
        ]
        return [*pictures, {'type': 'text', 'text': question}]

    def _picture(self, frame: Frame) -> str:
        """A frame's colour as a data URL, made once for all its questions."""
        from PIL import Image

        url = self._pictures.get(frame)
        if url is None:
            stream = io.BytesIO()
            Image.fromarray(frame.rgb).save(stream, 'JPEG', quality=QUALITY, subsampling=0)
            url = 'data:image/jpeg;base64,' + base64.b64encode(stream.getvalue()).decode()
            self._pictures[frame] = url
        return url
