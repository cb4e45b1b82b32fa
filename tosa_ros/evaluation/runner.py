"""Asks a model a benchmark's questions, episode by episode, and keeps every answer.

An episode's frames are decoded once for all methods and encoded once by each.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tosa_ros.errors import DataError, TosaError
from tosa_ros.evaluation.conditions import Change, check_spatial
from tosa_ros.evaluation.flops import flops
from tosa_ros.evaluation.journal import Journal
from tosa_ros.evaluation.metrics.score import QuestionId
from tosa_ros.evaluation.questions import Benchmark, Question
from tosa_ros.evaluation.run_folder import PROBLEMS, RunFolder
from tosa_ros.frames import Frame, doubts_in_words
from tosa_ros.merging import MergingMethod
from tosa_ros.settings import MAX_NEW_TOKENS
from tosa_ros.sources import as_source
from tosa_ros.sources.video import ShorterVideoError

if TYPE_CHECKING:
    from tosa_ros.pipeline import Answer, VqaPipeline

DEFAULT_FRAMES = 12


@dataclass(frozen=True)
class Asking:
    """How the questions are put to the model.

    frames: how many of an episode are looked at; None is all. template: with {question} in it;
    None is the benchmark's own. batch: questions of one episode that are answered at once, in
    one padded batch. change: applied to each decoded frame (see `conditions`).
    """

    frames: int | None = DEFAULT_FRAMES
    template: str | None = None
    max_new_tokens: int = MAX_NEW_TOKENS.default
    batch: int = 1
    change: Change | None = None

    def __post_init__(self) -> None:
        for name in ('frames', 'max_new_tokens', 'batch'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise DataError(f'{name}={value}; wanted at least 1')
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
    with contextlib.ExitStack() as stack:
        stack.enter_context(problems_kept(benchmark, folder.path))
        journals = {
            label: stack.enter_context(folder.journal(label, method))
            for label, method in methods.items()
        }
        run = _Run(benchmark, pipeline, methods, journals, asking or Asking(), progress)
        for episode, questions in benchmark.by_episode().items():
            run.ask(episode, questions)
    outcome = run.outcome
    outcome.answers = {label: list(journal.records) for label, journal in journals.items()}
    _add_earlier(outcome, folder)
    something_of(outcome, benchmark)
    return outcome


class _Run:
    """One process's part in a run: what it asks with, and what it has answers to."""

    def __init__(
        self,
        benchmark: Benchmark,
        pipeline: VqaPipeline,
        methods: Mapping[str, MergingMethod],
        journals: Mapping[str, Journal],
        asking: Asking,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.benchmark, self.pipeline, self.methods = benchmark, pipeline, methods
        self.journals, self.asking, self.progress = journals, asking, progress
        self.outcome = Outcome()
        self.done = {
            label: {record['question_id'] for record in journal.records}
            for label, journal in journals.items()
        }
        self.tick()

    def tick(self) -> None:
        if self.progress:
            answered = sum(len(journal.records) for journal in self.journals.values())
            self.progress(answered, len(self.benchmark.questions) * len(self.methods))

    def ask(self, episode: str, questions: Sequence[Question]) -> None:
        """Asks what is open of an episode; its frames are decoded only if there is something."""
        left = {
            label: open_ones
            for label, done in self.done.items()
            if (open_ones := [q for q in questions if q.id not in done])
        }
        if not left:
            return
        try:
            frames = episode_frames(self.benchmark, episode, self.asking)
        except TosaError as error:
            self.outcome.faults[f'episode {episode}'] = str(error)
            return
        for label, open_ones in left.items():
            try:
                check_spatial(frames, self.methods[label])
            except TosaError as error:
                self.outcome.faults[f'episode {episode}, {label}'] = str(error)
                continue
            self.pipeline.merging = self.methods[label]
            template = self.asking.template
            prompts = {q.id: self.benchmark.prompt(q, template) for q in open_ones}
            batches = _answers(self.pipeline, frames, prompts, self.asking, self.outcome.faults)
            for answers in batches:
                self.journals[label].extend(_records(answers, len(frames)))
                for line in filter(None, (answer.prompt_note for answer in answers.values())):
                    self.benchmark.note(line)
                self.tick()


def _add_earlier(outcome: Outcome, folder: RunFolder) -> None:
    """Adds the answers of methods that were asked before, as far as they are complete."""
    asked = {r['question_id'] for records in outcome.answers.values() for r in records}
    for label, records in folder.answers(besides=outcome.answers):
        lacking = len(asked - {record['question_id'] for record in records})
        if lacking:
            outcome.faults[f'method {label}'] = (
                f'left out: it lacks {lacking} answers; ask it again to have it in the report'
            )
        else:
            outcome.answers[label] = records


@contextlib.contextmanager
def problems_kept(benchmark: Benchmark, folder: Path) -> Iterator[None]:
    """Problems met while asking stay with the answers, and come back when a run is taken up."""
    with Journal(folder / PROBLEMS, _check_problem) as journal:
        for record in journal.records:
            benchmark.note(record['problem'])
        benchmark.on_problem = lambda problem: journal.append({'problem': problem})
        try:
            yield
        finally:
            benchmark.on_problem = None


def _check_problem(record: dict[str, Any]) -> None:
    if not isinstance(record.get('problem'), str):
        raise ValueError('no problem in words')


def something_of(outcome: Outcome, benchmark: Benchmark) -> None:
    """Raises DataError, with the first reason, where there is not one answer."""
    if not any(outcome.answers.values()):
        what, why = next(iter(outcome.faults.items()))
        raise DataError(f'{benchmark.name}: no question was answered; {what}: {why}')


def gigaflops(
    benchmark: Benchmark,
    pipeline: VqaPipeline,
    methods: Mapping[str, MergingMethod],
    asking: Asking,
) -> dict[str, float]:
    """10^9 operations of matrix products and attention, as executed, for the first question.

    By method. Of the frames' vision, the prompt, and the first word of the answer.
    """
    first = benchmark.questions[0]
    frames = episode_frames(benchmark, first.episode, asking)
    prompt = benchmark.prompt(first, asking.template)
    counts = {}
    for label, method in methods.items():
        pipeline.merging = method

        def ask() -> None:
            tokens = pipeline.encoder.encode(frames)
            pipeline.answerer.answer_batch([(tokens, prompt)], max_new_tokens=1)

        counts[label] = flops(ask) / 1e9
    return counts


def episode_frames(benchmark: Benchmark, episode: str, asking: Asking) -> list[Frame]:
    """The frames of an episode that are looked at, as the model is shown them."""
    source = as_source(benchmark.frames(episode))

    def picked() -> list[Frame]:
        count = len(source)
        return source.pick(benchmark.sampled(count, asking.frames or count))

    try:
        frames = picked()
    except ShorterVideoError:
        frames = picked()  # of the length that is known now
    for line in source.notes:
        if line not in benchmark.problems:
            benchmark.note(f'{episode}: {line}')
    if asking.change is not None:
        frames = [asking.change(frame) for frame in frames]
    for line in doubts_in_words(frames):
        benchmark.note(f'{episode}: {line}')
    return frames


def _answers(
    pipeline: VqaPipeline,
    frames: list[Frame],
    prompts: Mapping[QuestionId, str],
    asking: Asking,
    faults: dict[str, str],
) -> Iterator[dict[QuestionId, Answer]]:
    """The answers to the questions, batch by batch."""
    names = list(prompts)
    for start in range(0, len(names), asking.batch):
        some = {name: prompts[name] for name in names[start : start + asking.batch]}
        yield _at_once(pipeline, frames, some, asking, faults)


def _at_once(
    pipeline: VqaPipeline,
    frames: list[Frame],
    prompts: Mapping[QuestionId, str],
    asking: Asking,
    faults: dict[str, str],
) -> dict[QuestionId, Answer]:
    """Answers to some questions at once. One that cannot be asked costs no other its answer."""
    try:
        requests = [(frames, prompt) for prompt in prompts.values()]
        answers = pipeline.answer_batch(requests, max_new_tokens=asking.max_new_tokens)
        return dict(zip(prompts, answers, strict=True))
    except TosaError as error:
        if len(prompts) == 1:
            faults[f'question {next(iter(prompts))}'] = str(error)
            return {}
    found: dict[QuestionId, Answer] = {}
    for qid, prompt in prompts.items():
        found |= _at_once(pipeline, frames, {qid: prompt}, asking, faults)
    return found


def _records(answers: Mapping[QuestionId, Answer], frames: int) -> list[dict[str, Any]]:
    """What the journal keeps: what is known of an answer."""
    return [
        {
            'question_id': qid,
            'answer': answer.text,
            'frames': frames,
            **_cost(answer, number, len(answers)),
        }
        for number, (qid, answer) in enumerate(answers.items())
    ]


def _cost(answer: Answer, number: int, of: int) -> dict[str, Any]:
    """What one of a batch's answers took. Times are shared out, and vision is the first one's."""
    known = {
        'tokens_before': answer.tokens_before,
        'tokens_after': answer.tokens_after,
        'spatial': answer.spatial,
        'vision_ms': answer.vision_ms,
        'prefill_ms': answer.prefill_ms,
        'decode_ms': answer.decode_ms,
        'new_tokens': answer.new_tokens,
    }
    known = {name: value for name, value in known.items() if value is not None}
    shared = {
        name: round(known[name] / of, 2) for name in ('prefill_ms', 'decode_ms') if name in known
    }
    if 'vision_ms' in known:
        shared['vision_ms'] = 0.0 if number else round(known['vision_ms'], 2)
    return known | shared
