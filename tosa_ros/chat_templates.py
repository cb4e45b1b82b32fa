"""Chat templates: foreign Jinja, run in its own process with little time and memory.

A template comes with a checkpoint and is a program: transformers keeps it from files and from
Python's insides, but not from endless loops or from filling the memory. So it is run apart, once
for each number of images, with a mark in the question's place; questions go there as they are.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tosa_ros.errors import ModelError, printable

CPU_S = 6
WALL_S = 120.0  # More than that only where the machine is busy with other things.
MEMORY_BYTES = 2 << 30  # of addresses, most of which are libraries
MAX_CHARACTERS = 200_000
# All numbers of images up to this one are rendered at once.
USUAL_IMAGES = 64
_MARK = 'tosa-question-goes-here'
_WANTED = (
    "wanted one for text and images, such as the chat_template.json of the model's original "
    'checkpoint'
)
_THREADS = ThreadPoolExecutor(2, thread_name_prefix='chat-template')


class ChatTemplate:
    """A template and the names it may use (bos_token, ...); begins to render at once.

    with_images: whether content is a list of images and a text, rather than a text.
    """

    def __init__(self, text: str, names: Mapping[str, Any], *, with_images: bool = True) -> None:
        self.text, self._with_images = text, with_images
        self._names = tuple(sorted((name, str(value)) for name, value in names.items()))
        usual = USUAL_IMAGES + 1 if with_images else 1
        self._usual = _begun(text, self._names, 0, usual, with_images)

    def write(self, question: str, images: int = 0) -> str:
        """The prompt of a question about that many images.

        Raises:
            ModelError: the template fails, takes too long, or leaves the question out.
        """
        if images <= USUAL_IMAGES:
            pieces = _outcome(self._usual)[images]
        else:
            more = _begun(self.text, self._names, images, images + 1, self._with_images)
            [pieces] = _outcome(more)
        if len(pieces) < 2:
            raise ModelError(f'chat template: it leaves the question out; {_WANTED}')
        return question.join(pieces)


@functools.lru_cache(maxsize=32)
def _begun(
    text: str, names: tuple[tuple[str, str], ...], start: int, stop: int, with_images: bool
) -> Future:
    request = {
        'template': text,
        'names': dict(names),
        'contents': [_content(n) if with_images else _MARK for n in range(start, stop)],
    }
    return _THREADS.submit(_rendered, json.dumps(request))


def _content(images: int) -> list[dict[str, str]]:
    return [{'type': 'image'} for _ in range(images)] + [{'type': 'text', 'text': _MARK}]


def _outcome(rendering: Future) -> Sequence[Sequence[str]]:
    reply = rendering.result()
    if 'error' in reply:
        raise ModelError(f'chat template: {reply["error"]}; {_WANTED}')
    return reply['pieces']


def _rendered(request: str) -> dict[str, Any]:
    """What the child process says: {'pieces': ...} or {'error': ...}."""
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    alone = {'OPENBLAS_NUM_THREADS': '1', 'OMP_NUM_THREADS': '1', 'PYTHONPATH': paths}
    try:
        child = subprocess.run(
            [sys.executable, '-m', 'tosa_ros.chat_templates'],
            input=request.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **alone},
            timeout=WALL_S,
            check=False,
        )
        return json.loads(child.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return {'error': f'it takes more than {CPU_S} s or {MEMORY_BYTES >> 30} GiB to render'}
    except OSError as error:
        return {'error': f'no process for it can be started: {error.strerror}'}


def main() -> int:
    """The child: reads a request, renders, and writes a reply."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    request = json.load(sys.stdin)
    print(json.dumps(_reply_to(request)))
    return 0


def _reply_to(request: dict[str, Any]) -> dict[str, Any]:
    from transformers.utils.chat_template_utils import render_jinja_template

    pieces = []
    try:
        for content in request['contents']:
            written, _ = render_jinja_template(
                conversations=[[{'role': 'user', 'content': content}]],
                chat_template=request['template'],
                add_generation_prompt=True,
                **request['names'],
            )
            if len(written[0]) > MAX_CHARACTERS:
                return {'error': f'it writes {len(written[0]):,} characters'}
            pieces.append(written[0].split(_MARK))
    except Exception as error:  # A template may raise whatever Python does.
        return {'error': printable(f'{type(error).__name__}: {error}').rstrip(': ')}
    return {'pieces': pieces}


if __name__ == '__main__':
    sys.exit(main())
