"""Batches for the trainer, made from shards in an order that the step alone decides.

The cursor (samples taken so far, by source) is all there is to the data's position, so a resumed
training goes on with the very next batch.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from tosa_ros.errors import DataError
from tosa_ros.training.dense import Labels, make_labels
from tosa_ros.training.grounding import NAMES, NameFinder, grounding_targets
from tosa_ros.training.shards import Shard, Source, wait_for_shard
from tosa_ros.training.tokenizer import encode_questions, prompt_parts


@dataclass(frozen=True, eq=False)
class Batch:
    """views: (N, 3, H, W) float32 normalised to -1..1, N = samples * frames; labels of them.
    questions: (B, Q, L) ids; answers: (B, Q, A) positions; lengths: (B, Q), 0 for no question;
    kinds: (B, Q) index into the types. names: (B, Q, NAMES) positions of names, -1 none, and
    shown: (B, Q, NAMES, P) where in the prefix they are seen. counts: (B, Q, NAMES) how many;
    floors: (B, Q, NAMES) of which room, -1 unknown.
    """

    views: Tensor
    labels: Labels
    questions: Tensor
    answers: Tensor
    lengths: Tensor
    kinds: Tensor
    names: Tensor
    shown: Tensor
    counts: Tensor
    floors: Tensor
    frames: int


class Reader:
    """Samples of one source by index, with their questions as tokens."""

    def __init__(
        self,
        cache: Path,
        source: Source,
        tokenizer: PreTrainedTokenizerFast,
        types: tuple[str, ...],
        grid: int,
        finder: NameFinder,
    ) -> None:
        self.cache, self.source, self.tokenizer = cache, source, tokenizer
        self.types, self.grid, self.finder = types, grid, finder
        self._opening = len(prompt_parts(tokenizer)[0])
        self._open: dict[int, tuple[Shard, list]] = {}
        self._rarity: dict[tuple[str, str], float] = {}

    def batch(
        self,
        indices: np.ndarray,
        rng: np.random.Generator,
        weight: Callable[[str], float],
        questions: int,
        tokens: int,
        answer: int,
    ) -> Batch:
        """The samples `indices` with `questions` of each, drawn without replacement by weight."""
        places = [(self._shard(int(i) // self.source.shard), int(i) % self.source.shard)
                  for i in indices]  # fmt: skip
        rgb = np.concatenate([shard.rgb[row] for (shard, _), row in places])
        depth = np.concatenate([shard.depth[row] for (shard, _), row in places])
        instances = np.concatenate([shard.instances[row] for (shard, _), row in places])
        objects = np.stack([shard.objects[row] for (shard, _), row in places])
        ids = np.zeros((len(places), questions, tokens), np.int64)
        starts = np.ones((len(places), questions), np.int64)
        lengths = np.zeros((len(places), questions), np.int64)
        kinds = np.zeros((len(places), questions), np.int64)
        names = np.full((len(places), questions, NAMES, 3), -1, np.int64)
        for b, ((_, asked), row) in enumerate(places):
            for q, (text, start, kind) in enumerate(_draw(asked[row], rng, weight, questions)):
                if len(text) > tokens or len(text) - start > answer:
                    continue
                ids[b, q, : len(text)] = text
                starts[b, q], lengths[b, q] = start, len(text)
                kinds[b, q] = self.types.index(kind)
                found = self.finder.find(text[:start].tolist())
                names[b, q, : len(found)] = np.array(found).reshape(-1, 3)
        views = torch.from_numpy(rgb).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        positions = starts[..., None] + np.arange(answer)
        by_sample = instances.reshape(len(places), -1, *instances.shape[1:])
        grounding = grounding_targets(names, objects, by_sample, self.grid, self._opening)
        objects = np.repeat(objects, self.source.frames, 0)
        return Batch(
            views.contiguous(),
            make_labels(*map(torch.from_numpy, (instances, depth, objects)), self.grid),
            *map(torch.from_numpy, (ids, positions, lengths, kinds, names[..., 0], *grounding)),
            self.source.frames,
        )

    def _shard(self, number: int) -> tuple[Shard, list]:
        if number not in self._open:
            shard = wait_for_shard(self.cache, self.source, number)
            check_type_names(shard, self.types)
            flat = [(text, answer) for asked in shard.questions for text, answer, _ in asked]
            if self.source.split == 'train':  # people do not always write a capital letter
                flat = [(t.lower() if i % 4 == 3 else t, a) for i, (t, a) in enumerate(flat)]
            encoded = iter(encode_questions(self.tokenizer, flat))
            asked = [
                [(np.array(ids, np.int16), start, kind, self._rare(kind, answer))
                 for (_, answer, kind), (ids, start) in zip(of_one, encoded, strict=False)]
                for of_one in shard.questions
            ]  # fmt: skip
            self._open[number] = shard, asked
        return self._open[number]

    def _rare(self, kind: str, answer: str) -> float:
        """Above 1 for an answer that is rarer than its type's others, by the first shard."""
        if not self._rarity:
            shard = wait_for_shard(self.cache, self.source, 0)
            self._rarity = _rarity([q for asked in shard.questions for q in asked])
        return self._rarity.get((kind, answer), 1.0)


def _rarity(questions: list[tuple[str, str, str]]) -> dict[tuple[str, str], float]:
    """By (type, answer): the root of how many times rarer it is than an even share."""
    counts = Counter((kind, answer) for _, answer, kind in questions)
    totals = Counter(kind for _, _, kind in questions)
    answers = Counter(kind for kind, _ in counts)
    return {
        (kind, answer): float(np.sqrt(totals[kind] / answers[kind] / count))
        for (kind, answer), count in counts.items()
    }


def _draw(
    asked: list, rng: np.random.Generator, weight: Callable[[str], float], count: int
) -> list:
    """Up to `count` of the questions, the likelier the larger their type's weight and rarity."""
    weights = np.array([weight(kind) * rarity for _, _, kind, rarity in asked])
    keys = rng.exponential(size=len(asked)) / np.maximum(weights, 1e-9)
    return [asked[i][:3] for i in np.argsort(keys)[:count]]


def sample_order(position: int, count: int, total: int, seed: int) -> np.ndarray:
    """The indices of samples position..position+count: in order at first, shuffled afterwards."""
    taken = np.arange(position, position + count)
    laps, places = taken // total, taken % total
    out = places.copy()
    for lap in np.unique(laps[laps > 0]):
        order = np.random.default_rng([seed, int(lap)]).permutation(total)
        out[laps == lap] = order[places[laps == lap]]
    return out


def prefetched(items: Iterator, ahead: int = 2) -> Iterator:
    """The items, made in a thread while earlier ones are used; its error is raised here."""
    made: queue.Queue = queue.Queue(ahead)
    stop = threading.Event()

    def put(item: tuple) -> bool:
        while not stop.is_set():
            try:
                made.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((None, StopIteration()))
        except Exception as error:  # handed over, not swallowed
            put((None, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item, error = made.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        stop.set()
        thread.join()


def check_type_names(shard: Shard, types: tuple[str, ...]) -> None:
    """Raises: DataError: the shard has question types that the world no longer has."""
    strange = {kind for asked in shard.questions for _, _, kind in asked} - set(types)
    if strange:
        raise DataError(
            f'the cached questions have the types {sorted(strange)}, which the world lacks: '
            'delete the data cache and start again'
        )
