"""Asks a model a benchmark's questions, episode by episode, and keeps every answer.

An episode's frames are decoded once for all methods and encoded once by each.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tosa_ros.errors import DataError, TosaError
from tosa_ros.evaluation.journal import Journal
from tosa_ros.evaluation.media import ShorterVideoError, pick
from tosa_ros.evaluation.metrics.score import QuestionId
from tosa_ros.evaluation.questions import Benchmark, Question
from tosa_ros.evaluation.run_folder import PROBLEMS, RunFolder
from tosa_ros.frames import Frame
from tosa_ros.merging import MergingMethod

if TYPE_CHECKING:
    from tosa_ros.pipeline import VqaPipeline

DEFAULT_FRAMES = 12
DEFAULT_MAX_NEW_TOKENS = 64
SAMPLED_BYTES = 4096  # of weights, to tell models apart


@dataclass(frozen=True)
class Asking:
    """How the questions are put to the model.

    frames: how many of an episode are looked at. template: with {question} in it; None is the
    benchmark's own. change: applied to each decoded frame (estimated depth, for example).
    """

    frames: int = DEFAULT_FRAMES
    template: str | None = None
    max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS
    change: Callable[[Frame], Frame] | None = None

    def __post_init__(self) -> None:
        if self.frames < 1 or self.max_new_tokens < 1:
            raise DataError(
                f'frames={self.frames}, max_new_tokens={self.max_new_tokens}; wanted at least 1'
            )
        if self.template is not None and '{question}' not in self.template:
            raise DataError(f'prompt: {self.template!r} has no {{question}} in it')


@dataclass
class Outcome:
    """What a run has: answers by label, and why there are none for some questions.

    answers: label -> the journal's records. faults: what could not be asked (an episode or a
    question) -> why.
    """

    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    def predictions(self, label: str) -> dict[QuestionId, str]:
        return {record['question_id']: record['answer'] for record in self.answers[label]}


def evaluate(
    benchmark: Benchmark,
    pipeline: VqaPipeline,
    methods: Mapping[str, MergingMethod],
    folder: RunFolder,
    asking: Asking | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Answers every question by every method, but those that the folder has answers to.

    Args:
        methods: by the label under which the folder keeps their answers.
        progress: called with answers there are and answers wanted, after each.

    Raises:
        DataError: not one question could be asked.
    """
    asking = asking or Asking()
    outcome = Outcome()
    with contextlib.ExitStack() as stack:
        stack.enter_context(problems_kept(benchmark, folder.path))
        journals = {
            label: stack.enter_context(folder.journal(label, method))
            for label, method in methods.items()
        }
        done = {
            label: {record['question_id'] for record in journal.records}
            for label, journal in journals.items()
        }
        wanted = len(benchmark.questions) * len(methods)

        def tick() -> None:
            if progress:
                progress(sum(len(journal.records) for journal in journals.values()), wanted)

        tick()
        for episode, questions in benchmark.by_episode().items():
            left = {
                label: open_ones
                for label in methods
                if (open_ones := [q for q in questions if q.id not in done[label]])
            }
            if not left:
                continue
            try:
                frames = _frames(benchmark, episode, asking)
            except TosaError as error:
                outcome.faults[f'episode {episode}'] = str(error)
                continue
            for label, open_ones in left.items():
                pipeline.merging = methods[label]
                for question in open_ones:
                    _ask(benchmark, pipeline, frames, question, asking, journals[label], outcome)
                    tick()
        outcome.answers = {label: list(journal.records) for label, journal in journals.items()}
    something_of(outcome, benchmark)
    return outcome


@contextlib.contextmanager
def problems_kept(benchmark: Benchmark, folder: Path) -> Iterator[None]:
    """Problems met while asking stay with the answers, and come back when a run is taken up."""
    with Journal(folder / PROBLEMS) as journal:
        for record in journal.records:
            benchmark.note(record['problem'])
        benchmark.on_problem = lambda problem: journal.append({'problem': problem})
        try:
            yield
        finally:
            benchmark.on_problem = None


def something_of(outcome: Outcome, benchmark: Benchmark) -> None:
    """Raises DataError, with the first reason, where there is not one answer."""
    if not any(outcome.answers.values()):
        what, why = next(iter(outcome.faults.items()))
        raise DataError(f'{benchmark.name}: no question was answered; {what}: {why}')


def fingerprint(benchmark: Benchmark, asking: Asking) -> str:
    """Changes with any question, answer, id, order, or the way in which the model is asked."""
    described = [
        [q.id, benchmark.prompt(q, asking.template), q.answers, q.category, q.episode]
        for q in benchmark.questions
    ]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:20]


def model_fingerprint(path_or_id: str | Path) -> str:
    """Of a checkpoint folder: its configuration and some bytes of every tensor; else the id."""
    folder = Path(path_or_id)
    if not folder.is_dir():
        return str(path_or_id)
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix == '.json':
            digest.update(file.name.encode() + file.read_bytes())
        elif file.suffix == '.safetensors':
            digest.update(f'{file.name} {file.stat().st_size}'.encode())
            for part in _sampled(file):
                digest.update(part)
    return digest.hexdigest()[:20]


def _sampled(file: Path) -> Iterator[bytes]:
    """A safetensors file's header, and the start and the middle of every tensor.

    A fine-tuned model has the header of the model that it comes from.
    """
    with file.open('rb') as weights:
        size = int.from_bytes(weights.read(8), 'little')
        header = weights.read(min(size, file.stat().st_size))
        yield header
        try:
            tensors = json.loads(header)
            spans = [tensors[name]['data_offsets'] for name in tensors if name != '__metadata__']
            for start, end in spans:
                for at in (start, (start + end) // 2):
                    weights.seek(8 + size + at)
                    yield weights.read(min(SAMPLED_BYTES, end - at))
        except (ValueError, LookupError, TypeError, AttributeError, OSError):
            return  # damaged: loading it says so


def _frames(benchmark: Benchmark, episode: str, asking: Asking) -> list[Frame]:
    source: Sequence[Frame] = benchmark.frames(episode)

    def picked() -> list[Frame]:
        return pick(source, benchmark.sampled(len(source), asking.frames), benchmark.note)

    try:
        frames = picked()
    except ShorterVideoError:
        frames = picked()  # of the length that is known now
    for line in getattr(source, 'notes', ()):
        if line not in benchmark.problems:
            benchmark.note(f'{episode}: {line}')
    return frames if asking.change is None else [asking.change(frame) for frame in frames]


def _ask(
    benchmark: Benchmark,
    pipeline: VqaPipeline,
    frames: list[Frame],
    question: Question,
    asking: Asking,
    journal: Journal,
    outcome: Outcome,
) -> None:
    prompt = benchmark.prompt(question, asking.template)
    try:
        answer = pipeline.ask(frames, prompt, max_new_tokens=asking.max_new_tokens)
    except TosaError as error:
        outcome.faults[f'question {question.id}'] = str(error)
        return
    journal.append(
        {
            'question_id': question.id,
            'answer': answer.text,
            'frames': len(frames),
            'tokens_before': answer.tokens_before,
            'tokens_after': answer.tokens_after,
            'spatial': answer.spatial,
            'vision_ms': round(answer.vision_ms, 2),
            'prefill_ms': round(answer.prefill_ms, 2),
            'decode_ms': round(answer.decode_ms, 2),
            'new_tokens': answer.new_tokens,
        }
    )
