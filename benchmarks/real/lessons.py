"""What a training step is made of: cached tokens, packed questions, and the labels beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from benchmarks.real.cached import training_views
from benchmarks.real.made_questions import COUNTED, PLURAL, THINGS, Balance, Made, made, weighted
from benchmarks.real.nyu import CLASSES, Asked, Scene, daquar, scene
from benchmarks.real.vocabulary import encode
from tosa_ros.errors import DataError
from tosa_ros.files import read_json, whole_file, write_text
from tosa_ros.training.grounding import NAMES

WHOLE_SHARE = 0.3  # of the views that are drawn, each: whole, and whole and mirrored
SYNONYMS = {'refridgerator': 'refrigerator fridge', 'television': 'tv', 'picture': 'photo frame'}
# Frames that follow each other show the same room: whole runs of them are held out.
RUN, EVERY = 8, 10


@dataclass(frozen=True)
class Labels:
    """What a view shows: cells (2S, 2S) class numbers, log_depth (S, S), for S x S patches."""

    cells: np.ndarray
    log_depth: np.ndarray

    @classmethod
    def of(cls, one: Scene, side: int) -> Labels:
        rows, columns = ((np.arange(2 * side) + 0.5) * n / (2 * side) for n in one.labels.shape)
        at = np.ix_(rows.astype(int), columns.astype(int))
        depth = np.log(np.nan_to_num(one.depth_m[at], nan=2.0)).reshape(side, 2, side, 2)
        return cls(one.labels[at], depth.mean((1, 3)).astype(np.float32))


@dataclass
class Batch:
    """tokens (B, N, D); questions (B, Q, L) ids; answers (B, Q, A) places, lengths (B, Q), 0 none.

    names (B, Q, NAMES): where a thing is named, -1 none; shown (B, Q, NAMES, 1 + N): the prefix
    tokens that show it; cells (B, 2S, 2S); log_depth (B, S, S); kinds (B, Q): see `Lessons.kinds`.
    """

    tokens: Tensor
    questions: Tensor
    answers: Tensor
    lengths: Tensor
    names: Tensor
    shown: Tensor
    cells: Tensor
    log_depth: Tensor
    kinds: list[list[str]]


class Lessons:
    """Frames of the training split with their views' tokens, labels and questions."""

    def __init__(
        self,
        folder: Path,
        numbers: Sequence[int],
        tokens: np.ndarray,
        tokenizer: PreTrainedTokenizerFast,
        *,
        made_of: list[list[list[Made]]],
        labels: list[list[Labels]],
    ) -> None:
        if len(numbers) < RUN * (EVERY // 2 + 1):
            raise DataError(f'{folder}: {len(numbers)} training frames; none would be held out')
        self.numbers, self.tokens, self.tokenizer = list(numbers), tokens, tokenizer
        self.asked = daquar(folder, 'train')
        self.made, self.labels = made_of, labels
        self.balance = Balance.of(one for views in made_of for view in views for one in view)
        self.views = [training_views(number) for number in numbers]
        self.finder = ThingFinder(tokenizer)
        places = range(len(numbers))
        self.validation = [i for i in places if held_out(i)]
        self.training = [i for i in places if not held_out(i)]

    def questions(
        self, frame: int, view: int, count: int, rng: np.random.Generator
    ) -> list[Asked]:
        """At most half of them DAQUAR's, which are about whole frames."""
        shown = self.views[frame][view]
        human = list(self.asked[self.numbers[frame]]) if shown.whole else []
        human = [human[i] for i in rng.permutation(len(human))[: count // 2]]
        if shown.mirrored:
            human = [mirrored(one) for one in human]
        return human + weighted(self.made[frame][view], self.balance, count - len(human), rng)

    def train_batch(
        self, step: int, size: int, count: int, length: int, seed: int, absent: bool
    ) -> Batch:
        rng = np.random.default_rng([seed, step])
        views = len(self.views[0])
        odds = np.array([WHOLE_SHARE] * 2 + [(1 - 2 * WHOLE_SHARE) / (views - 2)] * (views - 2))
        frames = [self._in_turn(step * size + i, seed) for i in range(size)]
        chosen = [(frame, int(rng.choice(views, p=odds))) for frame in frames]
        asked = [self.questions(*one, count, rng) for one in chosen]
        return self.batch(chosen, asked, length, absent)

    def _in_turn(self, position: int, seed: int) -> int:
        epoch, at = divmod(position, len(self.training))
        order = np.random.default_rng([seed, epoch, 5]).permutation(len(self.training))
        return self.training[order[at]]

    def batch(
        self,
        chosen: Sequence[tuple[int, int]],
        asked: list[list[Asked]],
        length: int,
        absent: bool = False,
    ) -> Batch:
        """Questions longer than `length` tokens with their answer are left out.

        absent: a thing that is asked for in vain is shown by the token before the image.
        """
        rows = []
        for ones in asked:
            coded = zip(ones, encode(self.tokenizer, ones), strict=True)
            rows.append([(one, ids, at) for one, (ids, at) in coded if len(ids) <= length])
        count = max(len(row) for row in rows)
        longest = max(len(ids) for row in rows for _, ids, _ in row)
        spoken = max(len(ids) - at for row in rows for _, ids, at in row)
        size, patches = len(rows), self.tokens.shape[2]
        questions = np.full((size, count, longest), self.tokenizer.pad_token_id)
        answers = np.full((size, count, spoken), longest)
        lengths = np.zeros((size, count), int)
        names = np.full((size, count, NAMES), -1)
        shown = np.zeros((size, count, NAMES, 1 + patches), bool)
        labels = [self.labels[frame][view] for frame, view in chosen]
        for b, row in enumerate(rows):
            for q, (one, ids, at) in enumerate(row):
                questions[b, q, : len(ids)] = ids
                answers[b, q] = np.arange(at, at + spoken)
                lengths[b, q] = len(ids)
                for n, (place, thing) in enumerate(self.finder.find(ids[:at])):
                    where = patches_of(labels[b].cells, thing)
                    if where.any():
                        names[b, q, n], shown[b, q, n, 1:] = place, where
                    elif absent and one.kind == 'is there':
                        names[b, q, n], shown[b, q, n, 0] = place, True
        return Batch(
            torch.from_numpy(
                np.stack([self.tokens[frame, view] for frame, view in chosen]).astype(np.float32)
            ),
            *(torch.from_numpy(x) for x in (questions, answers, lengths, names, shown)),
            torch.from_numpy(np.stack([one.cells for one in labels]).astype(np.int64)),
            torch.from_numpy(np.stack([one.log_depth for one in labels])),
            [[one.kind for one, _, _ in row] for row in rows],
        )


def held_out(place: int) -> bool:
    """Whether the frame at this place of the training split is kept for validation."""
    return place // RUN % EVERY == EVERY // 2


def patches_of(cells: np.ndarray, thing: int) -> np.ndarray:
    """(N,) bool: the patches of which a quarter or more shows the thing."""
    side = len(cells) // 2
    return (cells == thing).reshape(side, 2, side, 2).any((1, 3)).ravel()


class ThingFinder:
    """Finds the things that a question names: (place of the name's last token, class)."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.known: dict[tuple[int, ...], int] = {}
        for i, name in enumerate(CLASSES):
            if name not in THINGS and name not in ('wall', 'floor', 'ceiling'):
                continue
            forms = {name, COUNTED.get(name, name), *SYNONYMS.get(name, '').split()}
            forms |= {name.rstrip('s')} if name in PLURAL else {f'{name}s'}
            for form in forms:
                ids = tokenizer.encode(form, add_special_tokens=False)
                if tokenizer.unk_token_id not in ids:
                    self.known[tuple(ids)] = i

    def find(self, ids: list[int]) -> list[tuple[int, int]]:
        found, at = [], 0
        while at < len(ids) and len(found) < NAMES:
            for words in (2, 1):
                thing = self.known.get(tuple(ids[at : at + words]))
                if thing is not None and at + words <= len(ids):
                    found.append((at + words - 1, thing))
                    at += words - 1
                    break
            at += 1
        return found


def mirrored(one: Asked) -> Asked:
    """The question as it is about the mirrored picture."""
    swap = {'left': 'right', 'right': 'left'}

    def of(text: str) -> str:
        return re.sub(r'\b(left|right)\b', lambda found: swap[found[0]], text)

    return Asked(one.kind, of(one.question), of(one.answer))


def prepared(folder: Path, numbers: Sequence[int], side: int, path: Path):
    """(made questions, labels) of every view of every frame; kept in `path` (.npz, .json)."""
    arrays, texts = path.with_suffix('.npz'), path.with_suffix('.json')
    if not (arrays.is_file() and texts.is_file()):
        questions, cells, depths = [], [], []
        for number in numbers:
            whole = scene(folder, number)
            views = training_views(number)
            shown = [view.of(whole) for view in views]
            pairs = zip(views, shown, strict=True)
            questions.append([[_plain(m) for m in made(s, metres=v.whole)] for v, s in pairs])
            labels = [Labels.of(one, side) for one in shown]
            cells.append([one.cells for one in labels])
            depths.append([one.log_depth for one in labels])
        with whole_file(arrays) as partial:
            np.savez(partial, cells=np.array(cells), depths=np.array(depths))
        write_text(texts, json.dumps(questions))
    with np.load(arrays) as held:
        views = zip(held['cells'], held['depths'], strict=True)
        labels = [[Labels(*one) for one in zip(*both, strict=True)] for both in views]
    texts = read_json(texts)
    made_of = [[[Made(Asked(*m[:3]), m[3]) for m in view] for view in views] for views in texts]
    return made_of, labels


def _plain(one: Made) -> list[str]:
    return [one.asked.kind, one.asked.question, one.asked.answer, one.about]
