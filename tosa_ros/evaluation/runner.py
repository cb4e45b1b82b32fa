"""Asks a model a benchmark's questions, episode by episode, and keeps every answer.

An episode's frames are decoded once for all methods, while earlier ones are being answered, and
encoded once by each.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tosa_ros.ahead import ahead
from tosa_ros.errors import DataError, TosaError
from tosa_ros.evaluation.conditions import Change, check_spatial
from tosa_ros.evaluation.flops import flops
from tosa_ros.evaluation.journal import Journal
from tosa_ros.evaluation.metrics.score import QuestionId
from tosa_ros.evaluation.questions import Benchmark, Question
from tosa_ros.evaluation.run_folder import PROBLEMS, RunFolder
from tosa_ros.frames import Frame, doubts_in_words
from tosa_ros.merging import MergingMethod
from tosa_ros.settings import AUTO, MAX_NEW_TOKENS
from tosa_ros.sources import as_source
from tosa_ros.sources.video import ShorterVideoError

if TYPE_CHECKING:
    from tosa_ros.pipeline import Answer, VqaPipeline

DEFAULT_FRAMES = 12
# Episodes decoded before they are needed, and what is asked at once of several.
EPISODES_AHEAD, WINDOW_QUESTIONS, WINDOW_FRAMES = 2, 64, 64
COSTS = (
    'tokens_before',
    'tokens_after',
    'spatial',
    'vision_ms',
    'prefill_ms',
    'decode_ms',
    'new_tokens',
)


@dataclass(eq=False)
class Episode:
    """An episode on its way: what is open of it, by label, and its frames once it is decoded.

    notes: what is to say of the frames. fault: why there are none.
    """

    name: str
    open: Mapping[str, Sequence[Question]]
    frames: list[Frame] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fault: str | None = None


@dataclass(frozen=True)
class Asking:
    """How the questions are put to the model.

    frames: how many of an episode are looked at; None is all. template: with {question} in it;
    None is the benchmark's own. batch: questions answered at once; 'auto': as many as fit. change:
    applied to each decoded frame (see `conditions`).
    """

    frames: int | None = DEFAULT_FRAMES
    template: str | None = None
    max_new_tokens: int = MAX_NEW_TOKENS.default
    batch: int | str = AUTO
    change: Change | None = None

    def __post_init__(self) -> None:
        for name in ('frames', 'max_new_tokens', 'batch'):
            value = getattr(self, name)
            if value not in (None, AUTO) and value < 1:
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
        with contextlib.closing(ahead(run.work(), run.decode, EPISODES_AHEAD)) as episodes:
            for window in windows(episodes, run.at_once):
                run.ask(window)
    outcome = run.outcome
    outcome.answers = {label: list(journal.records) for label, journal in journals.items()}
    _add_earlier(outcome, folder)
    something_of(outcome, benchmark)
    return outcome


def gather(
    benchmark: Benchmark, methods: Mapping[str, MergingMethod], folder: RunFolder
) -> Outcome:
    """The answers that a run's folder and its shards have; what is lacking is a fault.

    Raises:
        DataError: not one question has an answer.
    """
    outcome = Outcome()
    wanted = [q.id for q in benchmark.questions]
    with problems_kept(benchmark, folder.path):
        for label, method in methods.items():
            with folder.journal(label, method) as journal:
                outcome.answers[label] = list(journal.records)
            done = {record['question_id'] for record in journal.records}
            lacking = [qid for qid in wanted if qid not in done]
            if lacking:
                outcome.faults[f'method {label}'] = (
                    f'{len(lacking)} of {len(wanted)} questions have no answer, the first '
                    f'{lacking[0]!r}: a shard is missing or not complete'
                )
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
        batch = self.asking.batch
        self.at_once = WINDOW_QUESTIONS if batch == AUTO else batch
        self.done = {
            label: {record['question_id'] for record in journal.records}
            for label, journal in journals.items()
        }
        self.tick()

    def tick(self) -> None:
        if self.progress:
            answered = sum(len(journal.records) for journal in self.journals.values())
            self.progress(answered, len(self.benchmark.questions) * len(self.methods))

    def work(self) -> Iterator[Episode]:
        """The episodes of which something is open, in their order."""
        for name, questions in self.benchmark.by_episode().items():
            left = {
                label: open_ones
                for label, done in self.done.items()
                if (open_ones := [q for q in questions if q.id not in done])
            }
            if left:
                yield Episode(name, left)

    def decode(self, episode: Episode) -> Episode:
        """Fills in an episode's frames, or why there are none."""
        try:
            episode.frames, episode.notes = decoded(self.benchmark, episode.name, self.asking)
        except TosaError as error:
            episode.fault = str(error)
        return episode

    def ask(self, episodes: Sequence[Episode]) -> None:
        """Asks what is open of some episodes, by each method."""
        for episode in episodes:
            for line in episode.notes:
                self.benchmark.note(line)
            if episode.fault is not None:
                self.outcome.faults[f'episode {episode.name}'] = episode.fault
        for label, method in self.methods.items():
            asked = [each for one in episodes for each in self._asked(one, label)]
            self.pipeline.merging = method
            self._keep(label, asked)

    def _asked(self, episode: Episode, label: str) -> list[tuple[Question, list[Frame]]]:
        """What a method is asked of an episode: each question with its frames."""
        questions = episode.open.get(label, [])
        if episode.fault is not None or not questions:
            return []
        try:
            check_spatial(episode.frames, self.methods[label])
        except TosaError as error:
            self.outcome.faults[f'episode {episode.name}, {label}'] = str(error)
            return []
        return [(question, episode.frames) for question in questions]

    def _keep(self, label: str, asked: Sequence[tuple[Question, list[Frame]]]) -> None:
        """Asks, and keeps what is answered, a batch at a time."""
        template = self.asking.template
        requests = [(frames, self.benchmark.prompt(q, template)) for q, frames in asked]
        answers = self.pipeline.ask_many(
            requests,
            batch_size=self.asking.batch,
            max_new_tokens=self.asking.max_new_tokens,
            progress=False,
            on_error='record',
        )
        records = []
        for (question, frames), answer in zip(asked, answers, strict=True):
            if answer.error:
                self.outcome.faults[f'question {question.id}'] = answer.error
            else:
                records.append(_record(answer, question.id, len(frames)))
                if answer.prompt_note:
                    self.benchmark.note(answer.prompt_note)
            if len(records) == self.at_once:
                self._write(label, records)
        self._write(label, records)

    def _write(self, label: str, records: list[dict[str, Any]]) -> None:
        if records:
            self.journals[label].extend(records)
            records.clear()
            self.tick()


def windows(episodes: Iterable[Episode], questions: int) -> Iterator[list[Episode]]:
    """Episodes in a row that have so many questions together, or as many frames as are held."""
    window: list[Episode] = []
    for episode in episodes:
        window.append(episode)
        frames = sum(len(one.frames) for one in window)
        asked = sum(max(map(len, one.open.values())) for one in window)
        if frames >= WINDOW_FRAMES or asked >= questions:
            yield window
            window = []
    if window:
        yield window


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
    frames, notes = decoded(benchmark, episode, asking)
    for line in notes:
        benchmark.note(line)
    return frames


def decoded(benchmark: Benchmark, episode: str, asking: Asking) -> tuple[list[Frame], list[str]]:
    """The same, and what is to note of them; changes nothing of the benchmark."""
    source = as_source(benchmark.frames(episode))

    def picked() -> list[Frame]:
        count = len(source)
        return source.pick(benchmark.sampled(count, asking.frames or count))

    try:
        frames = picked()
    except ShorterVideoError:
        frames = picked()  # of the length that is known now
    notes = [f'{episode}: {line}' for line in source.notes if line not in benchmark.problems]
    if asking.change is not None:
        frames = [asking.change(frame) for frame in frames]
    notes += [f'{episode}: {line}' for line in doubts_in_words(frames)]
    return frames, notes


def _record(answer: Answer, qid: QuestionId, frames: int) -> dict[str, Any]:
    """What the journal keeps: what is known of an answer."""
    return {'question_id': qid, 'answer': answer.text, 'frames': frames, **_cost(answer)}


def _cost(answer: Answer) -> dict[str, Any]:
    """What an answer took, its share of its batch."""
    known = {name: getattr(answer, name) for name in COSTS}
    return {
        name: round(value, 2) if isinstance(value, float) else value
        for name, value in known.items()
        if value is not None
    }
