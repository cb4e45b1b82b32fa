"""Asks a model all questions about a test frame at one go, its tower merged by a contender.

Answers are the pipeline's own: the same halves, prompt and greedy decoding. What has been said
is kept frame by frame, so a stopped run goes on where it stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

import tosa_ros
from benchmarks.real import nyu
from benchmarks.real.depths import with_depth
from benchmarks.real.made_questions import Balance, made, weighted
from benchmarks.real.nyu import Asked
from tosa_ros.evaluation.journal import Journal
from tosa_ros.frames import Frame
from tosa_ros.loading import model_fingerprint
from tosa_ros.merging import ToSA
from tosa_ros.spatial import SpatialTokens
from tosa_ros.vision import MergedTokens
from tosa_ros.vlm.answerer import Answerer
from tosa_ros.vlm.checkpoint import Checkpoint
from tosa_ros.vlm.frame_places import spatial_kind, spatial_tokens
from tosa_ros.vlm.tokens import VisualTokens

MAX_NEW_TOKENS = 16
ANSWERED_BY = ('merging', 'spatial', 'vision', 'vlm')


class Contender(Protocol):
    """Something that leaves fewer tokens; its repr tells all of its settings."""

    name: str
    keep: float

    def __call__(
        self, tower: nn.Module, pixels: Tensor, spatial: SpatialTokens | None
    ) -> MergedTokens:
        """Tokens of pixels (B, 3, S, S) after the last layer, before the final norm."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A test frame and all that is asked about it."""

    number: int
    asked: tuple[Asked, ...]


@dataclass(frozen=True)
class Run:
    """One contender on all questions. blind: the picture is black."""

    contender: Contender
    depth: str = 'sensor'
    blind: bool = False

    @property
    def label(self) -> str:
        return 'blind' if self.blind else self.contender.name


@dataclass(frozen=True, eq=False)
class Said:
    """answers, one a question, frame by frame; tokens: of a frame, on average."""

    answers: tuple[str, ...]
    tokens: float


def asked_of_test(folder: Path, frames: int, made_count: int) -> list[Shown]:
    """DAQUAR's and made questions about test frames: all, or so many spread evenly.

    What is made depends on the whole split, and so not on how many frames are asked about.
    """
    numbers = nyu.numbers(folder, 'test')
    possible = {number: made(nyu.scene(folder, number)) for number in numbers}
    balance = Balance.of(one for every in possible.values() for one in every)
    human = nyu.daquar(folder, 'test')
    shown = []
    for number in _spread(numbers, frames):
        rng = np.random.default_rng([number, 11])
        own = weighted(possible[number], balance, made_count, rng)
        shown.append(Shown(number, (*human[number], *own)))
    return shown


def _spread(numbers: Sequence[int], count: int) -> list[int]:
    if not 0 < count < len(numbers):
        return list(numbers)
    return [numbers[i] for i in np.linspace(0, len(numbers) - 1, count).round().astype(int)]


class Model:
    """Both halves of a checkpoint, and what turns a frame into the tower's input."""

    def __init__(self, path_or_id: str, dtype: torch.dtype = torch.float32) -> None:
        self.family = Checkpoint.open(path_or_id).family
        self.half = self.family.load_vision('cpu', dtype)
        self.input = self.family.image_input()
        self.answerer = Answerer.from_pretrained(path_or_id, dtype=dtype)
        self.dtype = dtype
        self.fingerprint = model_fingerprint(path_or_id)

    @torch.inference_mode()
    def tokens(self, frame: Frame, contender: Contender) -> VisualTokens:
        pixels = self.input.pixels(frame.rgb)[None].to(self.dtype)
        method = getattr(contender, 'method', None) or ToSA()
        kind, spatial = spatial_kind(frame, method), None
        if kind != 'none':
            grid = self.input.grid(frame.width, frame.height)
            spatial = spatial_tokens(frame, grid, kind, method)
        merged = contender(self.family.tower(self.half), pixels, spatial)
        left = merged.tokens.shape[1]
        return VisualTokens(
            embeddings=self.family.project(self.half, merged)[0],
            size=merged.size[0].numpy(),
            source=merged.source[0].numpy(),
            uv=np.zeros((left, 2), np.float32),  # the answerer reads embeddings and source alone
            rgb=np.zeros((left, 3), np.uint8),
            xyz=np.full((left, 3), np.nan, np.float32),
            grids=((self.input.side, self.input.side),),
            spatial=kind,
            stamp=0.0,
        )

    def answers(self, tokens: VisualTokens, questions: Sequence[str]) -> list[str]:
        requests = [([tokens], question) for question in questions]
        said = self.answerer.answer_batch(requests, max_new_tokens=MAX_NEW_TOKENS)
        return [one.text for one in said]


class Asker:
    """Runs, each answered once for a model, the code and the questions."""

    def __init__(self, folder: Path, work: Path, model: Model, shown: Sequence[Shown]) -> None:
        self.folder, self.work, self.model, self.shown = folder, work, model, list(shown)
        self._black: dict[Contender, VisualTokens] = {}  # of the black picture, always the same
        self._key = f'{model.fingerprint} {model.dtype} {_code()}'

    @property
    def asked(self) -> list[Asked]:
        return [one for shown in self.shown for one in shown.asked]

    @property
    def pictures(self) -> list[int]:
        """Of each question, its frame."""
        return [shown.number for shown in self.shown for _ in shown.asked]

    def of(self, run: Run) -> Said:
        """All answers of a run, from its file as far as it goes."""
        told = f'{run} {self._key}'
        path = self.work / f'{hashlib.sha256(told.encode()).hexdigest()[:16]}.jsonl'
        answers, tokens = [], []
        with Journal(path) as journal:
            known = {(one['frame'], one['questions']): one for one in journal.records}
            for shown in self.shown:
                key = shown.number, _digest(shown.asked)
                if key not in known:
                    known[key] = {'frame': key[0], 'questions': key[1], **self._ask(run, shown)}
                    journal.append(known[key])
                answers += known[key]['said']
                tokens.append(known[key]['tokens'])
        return Said(tuple(answers), sum(tokens) / len(tokens))

    def _ask(self, run: Run, shown: Shown) -> dict:
        tokens = self._tokens(run, shown)
        said = self.model.answers(tokens, [one.question for one in shown.asked])
        return {'tokens': len(tokens), 'said': said}

    def _tokens(self, run: Run, shown: Shown) -> VisualTokens:
        if run.blind:
            if run.contender not in self._black:
                black = Frame(np.zeros((64, 64, 3), np.uint8))
                self._black[run.contender] = self.model.tokens(black, run.contender)
            return self._black[run.contender]
        frame = nyu.scene(self.folder, shown.number).frame()
        shown_depth = with_depth(frame, run.depth, f'{shown.number:04d}')
        return self.model.tokens(shown_depth, run.contender)


def majority(folder: Path, asked: Sequence[Asked]) -> list[str]:
    """What one says who knows the kind of a question alone: the training split's commonest."""
    answers: dict[str, dict[str, int]] = {}
    for one in _training_questions(folder):
        of_kind = answers.setdefault(one.kind, {})
        of_kind[one.answer] = of_kind.get(one.answer, 0) + 1
    commonest = {kind: max(sorted(of), key=of.__getitem__) for kind, of in answers.items()}
    return [commonest.get(one.kind, '') for one in asked]


def _training_questions(folder: Path) -> Iterator[Asked]:
    numbers = nyu.numbers(folder, 'train')
    human = nyu.daquar(folder, 'train')
    possible = [made(nyu.scene(folder, number)) for number in numbers]
    balance = Balance.of(one for every in possible for one in every)
    for number, every in zip(numbers, possible, strict=True):
        yield from human[number]
        yield from weighted(every, balance, len(every), np.random.default_rng([number, 11]))


def _digest(asked: Sequence[Asked]) -> str:
    return hashlib.sha256('\n'.join(a.question for a in asked).encode()).hexdigest()[:12]


def _code() -> str:
    """Hash of everything that an answer passes through."""
    package = Path(tosa_ros.__file__).parent
    files = sorted(f for part in ANSWERED_BY for f in (package / part).glob('**/*.py'))
    files += [
        Path(__file__).with_name(name) for name in ('contenders.py', 'baselines.py', 'depths.py')
    ]
    return hashlib.sha256(b''.join(file.read_bytes() for file in files)).hexdigest()[:16]
