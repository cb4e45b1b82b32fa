"""Chat templates: foreign Jinja, run in its own process with little time and memory.

A template comes with a checkpoint and is a program: transformers keeps it from files and from
Python's insides, but not from endless loops or from filling the memory. So it is run apart, once
for each shape of a talk, with marks in the places of its texts; texts go there as they are.
"""

from __future__ import annotations

import functools
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tosa_ros.errors import ModelError, QuestionError, printable

CPU_S = 6
WALL_S = 120.0  # More than that only where the machine is busy with other things.
MEMORY_BYTES = 2 << 30  # of addresses, most of which are libraries
MAX_CHARACTERS = 200_000
# All numbers of images up to this one are rendered at once.
USUAL_IMAGES = 64
# Talks are rendered with this many numbers of earlier turns at once.
USUAL_TURNS = 16
_MARK = 'tosa-text-{}-goes-here'
_MARKS = re.compile(r'tosa-text-(\d+)-goes-here')
_WANTED = (
    "wanted one for text and images, such as the chat_template.json of the model's original "
    'checkpoint'
)
# Images, earlier turns, and whether there is a system prompt.
Shape = tuple[int, int, bool]
_THREADS = ThreadPoolExecutor(2, thread_name_prefix='chat-template')


class ChatTemplate:
    """A template and the names it may use (bos_token, ...); begins to render at once.

    with_images: whether content is a list of images and a text, rather than a text.
    """

    def __init__(self, text: str, names: Mapping[str, Any], *, with_images: bool = True) -> None:
        self.text, self._with_images = text, with_images
        self._names = tuple(sorted((name, str(value)) for name, value in names.items()))
        usual = USUAL_IMAGES + 1 if with_images else 1
        self._usual = tuple((number, 0, False) for number in range(usual))
        self._begun(self._usual)

    def write(
        self,
        question: str,
        images: int = 0,
        *,
        system: str = '',
        history: Sequence[tuple[str, str]] = (),
    ) -> str:
        """The prompt of a question about that many images.

        system: instructions before all. history: earlier questions about these images, and what
        was answered.

        Raises:
            ModelError: the template fails, takes too long, or leaves out a question or an answer.
            QuestionError: there is a system prompt, for which it has no place.
        """
        shape = (images, len(history), bool(system))
        shapes = self._shapes(shape)
        pieces = _outcome(self._begun(shapes))[shapes.index(shape)]
        texts = [system] if system else []
        texts += [text for turn in history for text in turn] + [question]
        if 'error' in pieces and system:
            why = f' ({pieces["error"]})' if pieces['error'] else ''
            raise QuestionError(f"system: the model's chat template has no place for it{why}")
        if 'error' in pieces:
            lacking = f'it leaves {"a turn" if history else "the question"} out'
            raise ModelError(f'chat template: {pieces["error"] or lacking}; {_WANTED}')
        return ''.join(
            texts[int(piece)] if number % 2 else piece
            for number, piece in enumerate(pieces['text'])
        )

    def prepare(self, images: int, system: bool) -> None:
        """Begins to render the prompts of a talk about that many images."""
        self._begun(self._shapes((images, 1, system)))

    def _shapes(self, shape: Shape) -> tuple[Shape, ...]:
        """The shapes that are rendered together with this one."""
        images, turns, system = shape
        if shape in self._usual:
            return self._usual
        if not turns and not system:
            return (shape,)
        first = turns // USUAL_TURNS * USUAL_TURNS
        return tuple((images, first + number, system) for number in range(USUAL_TURNS))

    def _begun(self, shapes: tuple[Shape, ...]) -> Future:
        return _begun(self.text, self._names, shapes, self._with_images)


@functools.lru_cache(maxsize=32)
def _begun(
    text: str, names: tuple[tuple[str, str], ...], shapes: tuple[Shape, ...], with_images: bool
) -> Future:
    request = {'template': text, 'names': dict(names), 'shapes': shapes, 'parts': with_images}
    return _THREADS.submit(_rendered, json.dumps(request))


def _outcome(rendering: Future) -> Sequence[Mapping[str, Any]]:
    """Of each shape its 'text', of which every other piece is the number of one, or an 'error'."""
    reply = rendering.result()
    if 'error' in reply:
        raise ModelError(f'chat template: {reply["error"]}; {_WANTED}')
    return reply['written']


def _rendered(request: str) -> dict[str, Any]:
    """What the child process says: {'written': ...} or {'error': ...}."""
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
    written = []
    for shape in request['shapes']:
        written.append(_written(request, *shape))
        if written[-1].get('error') and not any(shape[1:]):
            return {'error': written[-1]['error']}
    return {'written': written}


def _written(request: Mapping[str, Any], images: int, turns: int, system: bool) -> dict[str, Any]:
    """A prompt with marks, in pieces; what users say is always in parts where there are images.

    Some templates want what others say as text, some in parts: as whichever all marks are found.
    """
    error = ''
    others = turns > 0 or system
    for others_in_parts in (True, False) if request['parts'] and others else (False,):
        messages = _messages(images, turns, system, request['parts'], others_in_parts)
        try:
            text = _render(request, messages)
        except Exception as raised:  # A template may raise whatever Python does.
            said = printable(f'{type(raised).__name__}: {raised}').rstrip(': ')
            error = error or said
            continue
        pieces = _MARKS.split(text)
        whole = set(pieces[1::2]) == set(map(str, range(2 * turns + 1 + system)))
        # A list of parts that is written as Python writes it is not what was meant.
        if whole and "'type': 'text'" not in text:
            return {'text': pieces}
    return {'error': error}


def _messages(
    images: int, turns: int, system: bool, parts: bool, others_in_parts: bool
) -> list[dict[str, Any]]:
    roles = ['system'] * system + ['user', 'assistant'] * turns + ['user']
    messages = []
    for number, role in enumerate(roles):
        text: Any = _MARK.format(number)
        if parts if role == 'user' else others_in_parts:
            text = [{'type': 'text', 'text': text}]
        if number == system and parts:
            text = [{'type': 'image'}] * images + text
        messages.append({'role': role, 'content': text})
    return messages


def _render(request: Mapping[str, Any], messages: list[dict[str, Any]]) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    [text], _ = render_jinja_template(
        conversations=[messages],
        chat_template=request['template'],
        add_generation_prompt=True,
        **request['names'],
    )
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f'it writes {len(text):,} characters')
    return text


if __name__ == '__main__':
    sys.exit(main())
