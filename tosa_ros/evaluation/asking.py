"""Asks a model the questions about episodes, and says what came of it; it keeps nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tosa_ros.errors import DataError, TosaError
from tosa_ros.evaluation.conditions import Change, check_spatial
from tosa_ros.evaluation.metrics.score import QuestionId
from tosa_ros.evaluation.questions import Benchmark, Question
from tosa_ros.frames import Frame, doubts_in_words
from tosa_ros.merging import MergingMethod
from tosa_ros.settings import AUTO, MAX_NEW_TOKENS
from tosa_ros.sources import as_source
from tosa_ros.sources.video import ShorterVideoError

if TYPE_CHECKING:
    from tosa_ros.pipeline import Answer, VqaPipeline

DEFAULT_FRAMES = 12
# What is asked at once, of several episodes.
WINDOW_QUESTIONS, WINDOW_FRAMES = 64, 64
COSTS = (
    'tokens_before',
    'tokens_after',
    'spatial',
    'vision_ms',
    'prefill_ms',
    'decode_ms',
    'new_tokens',
)


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


@dataclass
class Said:
    """What came of asking: records of a method's answers, faults (what -> why) and notes."""

    label: str = ''
    records: list[dict[str, Any]] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Asker:
    """Decodes episodes and puts their questions to a model, by each method.

    methods: by label.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        pipeline: VqaPipeline,
        methods: Mapping[str, MergingMethod],
        asking: Asking,
    ) -> None:
        self.benchmark, self.pipeline = benchmark, pipeline
        self.methods, self.asking = methods, asking
        self.at_once = WINDOW_QUESTIONS if asking.batch == AUTO else asking.batch

    def decode(self, episode: Episode) -> Episode:
        """Fills in an episode's frames, or why there are none."""
        try:
            episode.frames, episode.notes = decoded(self.benchmark, episode.name, self.asking)
        except TosaError as error:
            episode.fault = str(error)
        return episode

    def ask(self, episodes: Sequence[Episode]) -> Iterator[Said]:
        """Asks what is open of some episodes, and says so as answers come."""
        for episode in episodes:
            faults = {} if episode.fault is None else {f'episode {episode.name}': episode.fault}
            yield Said(faults=faults, notes=episode.notes)
        for label, method in self.methods.items():
            asked = []
            for episode in episodes:
                questions, faults = self._asked(episode, label)
                asked += [(question, episode.frames) for question in questions]
                if faults:
                    yield Said(faults=faults)
            self.pipeline.merging = method
            yield from self._answers(label, asked)

    def _asked(self, episode: Episode, label: str) -> tuple[Sequence[Question], dict[str, str]]:
        """What a method is asked of an episode, or why it is not."""
        questions = episode.open.get(label, ())
        if episode.fault is not None or not questions:
            return (), {}
        try:
            check_spatial(episode.frames, self.methods[label])
        except TosaError as error:
            return (), {f'episode {episode.name}, {label}': str(error)}
        return questions, {}

    def _answers(
        self, label: str, asked: Sequence[tuple[Question, list[Frame]]]
    ) -> Iterator[Said]:
        """The answers, a batch at a time."""
        template = self.asking.template
        requests = [(frames, self.benchmark.prompt(q, template)) for q, frames in asked]
        answers = self.pipeline.ask_many(
            requests,
            batch_size=self.asking.batch,
            max_new_tokens=self.asking.max_new_tokens,
            progress=False,
            on_error='record',
        )
        said = Said(label)
        for (question, frames), answer in zip(asked, answers, strict=True):
            if answer.error:
                said.faults[f'question {question.id}'] = answer.error
            else:
                said.records.append(_record(answer, question.id, len(frames)))
                if answer.prompt_note:
                    said.notes.append(answer.prompt_note)
            if len(said.records) == self.at_once:
                yield said
                said = Said(label)
        yield said


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
