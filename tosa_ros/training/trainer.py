"""The training loop of the embedded model: dense labels first, then answers, then episodes.

Everything that decides the next step is in the saved state, so a resumed training continues
exactly as if it had not been stopped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast

from tosa_ros.errors import ModelError
from tosa_ros.training.checkpoint import load_state, save_state
from tosa_ros.training.dense import DENSE_TERMS, DenseHead
from tosa_ros.training.grounding import (
    PROBED,
    NameFinder,
    floor_loss,
    grounding_loss,
    probe_loss,
    probe_targets,
)
from tosa_ros.training.loader import Batch, Reader, prefetched, sample_order
from tosa_ros.training.model import build_model
from tosa_ros.training.packing import (
    answer_logits,
    answer_loss,
    answer_targets,
    at_positions,
    exactly_right,
    packed_hidden,
    prefix_embeddings,
    tower_tokens,
    use_training_attention,
)
from tosa_ros.training.recipe import Recipe
from tosa_ros.training.shards import Source
from tosa_ros.training.tokenizer import prompt_parts


class Trainer:
    """Model, head, optimisers and position of one training.

    Args:
        out: where state and log go. cache: where shards are.
        attributes: the world's shapes, colours, sizes, states and floors.
        types: the question types.
    """

    def __init__(
        self,
        recipe: Recipe,
        tokenizer: PreTrainedTokenizerFast,
        *,
        out: Path,
        cache: Path,
        attributes: tuple[tuple[str, ...], ...],
        types: tuple[str, ...],
        device: str = 'cpu',
        compiled: bool = True,
        autocast: bool = True,
    ) -> None:
        self.recipe, self.tokenizer, self.types = recipe, tokenizer, types
        self.out, self.cache, self.device = Path(out), Path(cache), torch.device(device)
        self.autocast = autocast
        torch.manual_seed(recipe.seed)
        self.model = build_model(recipe.shape, tokenizer, max(recipe.frames)).to(self.device)
        use_training_attention(self.model)
        self.head = DenseHead(recipe.shape.vision_width, tuple(map(len, attributes))).to(
            self.device
        )
        self.probe = nn.Linear(recipe.shape.text_width, PROBED + len(attributes[-1])).to(
            self.device
        )
        self.optimisers = _optimisers(self.model, (self.head, self.probe), recipe)
        self.step = 0
        self.cursor: dict[str, int] = {}
        opening, _, _ = prompt_parts(tokenizer)
        self.opening = torch.tensor(opening, device=self.device)
        self._finder = NameFinder(tokenizer, *attributes[:2])
        self._readers: dict[Source, Reader] = {}
        self._compiled = compiled
        self._functions: dict[tuple, object] = {}

    @property
    def length(self) -> int:
        """Steps of the whole training."""
        return self.recipe.steps + self.recipe.walk_steps

    def resume(self) -> bool:
        """Goes on from the saved state, if there is one."""
        state = load_state(self.out)
        if state is not None:
            self.restore(state)
        return state is not None

    def restore(self, state: dict) -> None:
        """Takes a state over.

        Raises:
            ModelError: it is of another tokenizer or other sizes.
        """
        if state['tokenizer'] != self._tokenizer_json():
            raise ModelError(
                f'checkpoint in {self.out}: trained with another tokenizer; use --fresh or '
                'another --out'
            )
        try:
            self.model.load_state_dict(state['model'])
            self.head.load_state_dict(state['head'])
            self.probe.load_state_dict(state['probe'])
            for optimiser, saved in zip(self.optimisers, state['optimisers'], strict=True):
                optimiser.load_state_dict(saved)
        except (RuntimeError, ValueError, KeyError) as error:
            raise ModelError(
                f'checkpoint in {self.out}: made for other sizes '
                f'({str(error).splitlines()[0]}); use --fresh or another --out'
            ) from error
        # Learning rates are the recipe's, which may have been changed since.
        rates = (self.recipe.lr, self.recipe.adam_lr)
        for optimiser, rate in zip(self.optimisers, rates, strict=True):
            for group in optimiser.param_groups:
                group['base'] = rate
        self.step, self.cursor = state['step'], dict(state['cursor'])
        torch.set_rng_state(state['rng'])

    def save(self) -> Path:
        return save_state(
            self.out,
            {
                'model': self.model.state_dict(),
                'head': self.head.state_dict(),
                'probe': self.probe.state_dict(),
                'optimisers': [o.state_dict() for o in self.optimisers],
                'step': self.step,
                'cursor': self.cursor,
                'rng': torch.get_rng_state(),
                'recipe': asdict(self.recipe),
                'tokenizer': self._tokenizer_json(),
            },
        )

    def train(
        self,
        *,
        until: int | None = None,
        minutes: float = float('inf'),
        save_every: int = 200,
        evaluate_every: int = 200,
        views: int = 256,
    ) -> dict[str, float]:
        """Trains to step `until` (the recipe's last) or for so many minutes, and saves.

        Returns:
            The last loss terms.
        """
        until = self.length if until is None else min(until, self.length)
        deadline = time.monotonic() + minutes * 60
        shown: dict[str, float] = {}
        bar = tqdm(total=until, initial=self.step, unit='step', smoothing=0.05, mininterval=2)
        self.model.train()
        since, viewed = time.monotonic(), 0
        batches = prefetched(self._batches(until))
        try:
            for batch, cursor in batches:
                terms = self.update(batch)
                self.cursor = cursor
                self.step += 1
                viewed += batch.views.shape[0]
                shown |= terms
                bar.update()
                if self.step % 10 == 0:
                    rate = viewed / (time.monotonic() - since)
                    since, viewed = time.monotonic(), 0
                    self._log(step=self.step, views_s=round(rate, 1), **_rounded(shown))
                    bar.set_postfix({**_brief(shown), 'views/s': f'{rate:.0f}'})
                if self.step % evaluate_every == 0 and self.recipe.answers(self.step):
                    shown['accuracy'] = self._evaluated(views)
                    since, viewed = time.monotonic(), 0
                if self.step % save_every == 0:
                    self.save()
                if time.monotonic() > deadline:
                    break
        finally:
            batches.close()
            bar.close()
        self.save()
        return shown

    def _evaluated(self, views: int) -> float:
        """Logs the accuracy on single views and, once there were some, on episodes."""
        scores = self.evaluate('val', views)
        entry = {'val': scores}
        if any(name.startswith('train-episode') for name in self.cursor):
            frames = max(self.recipe.frames)
            entry['episodes'] = self.evaluate('val', max(1, views // frames), frames)
        self._log(step=self.step, **entry)
        return scores['all']

    def update(self, batch: Batch) -> dict[str, float]:
        """One optimiser step; returns the loss terms."""
        recipe, batch = self.recipe, _to(batch, self.device)
        factor = recipe.rate(self.step)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group['lr'] = group['base'] * factor
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            terms = self._function(batch)(batch)
            dense = sum(terms[name] for name in DENSE_TERMS)
            loss = dense
            if 'answer' in terms:
                loss = terms['answer'] + recipe.dense_weight * dense
                loss = loss + recipe.grounding_weight * (terms['grounding'] + terms['probe'])
        loss.backward()
        parameters = [p for o in self.optimisers for g in o.param_groups for p in g['params']]
        nn.utils.clip_grad_norm_(parameters, recipe.clip)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        return {name: term.item() for name, term in terms.items()}

    @torch.no_grad()
    def evaluate(self, split: str = 'val', views: int = 256, frames: int = 1) -> dict:
        """Exact-match accuracy by question type on `views` samples, and over 'all' of them."""
        kind = 'single' if frames == 1 else 'episode'
        known = (self.recipe.single, *self.recipe.walks)
        shard = next((s.shard for s in known if s.frames == frames), 64)
        source = Source(kind, split, frames, shard)
        reader = self._reader(source)
        size = max(1, self.recipe.batch // frames)
        right: dict[str, list[bool]] = {}
        self.model.eval()
        for first in range(0, views, size):
            indices = np.arange(first, min(first + size, views))
            rng = np.random.default_rng([self.recipe.seed, first])
            batch = _to(self._of(reader, indices, rng, lambda kind: 1.0), self.device)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
                hidden = self._hidden(batch, tower_tokens(self.model, batch.views))
                logits, targets = self._answers(batch, hidden)
            hit = exactly_right(logits, targets)
            for name, length, ok in zip(
                batch.kinds.flatten().tolist(),
                batch.lengths.flatten().tolist(),
                hit.flatten().tolist(),
                strict=True,
            ):
                if length:
                    right.setdefault(self.types[name], []).append(ok)
        self.model.train()
        scores = {name: float(np.mean(right[name])) for name in self.types if name in right}
        scores['all'] = float(np.mean([ok for oks in right.values() for ok in oks]))
        return _rounded(scores)

    def _batches(self, until: int) -> Iterator[tuple[Batch, dict[str, int]]]:
        recipe, cursor = self.recipe, dict(self.cursor)
        for step in range(self.step, until):
            source = recipe.source(step)
            count = max(1, recipe.batch // source.frames)
            total = recipe.scenes if source.frames == 1 else recipe.episodes
            position = cursor.get(source.name, 0)
            indices = sample_order(position, count, total, recipe.seed)
            rng = np.random.default_rng([recipe.seed, step])
            cursor = {**cursor, source.name: position + count}
            batch = self._of(
                self._reader(source), indices, rng, lambda k, s=step: recipe.type_weight(k, s)
            )
            if not recipe.answers(step):
                batch.lengths.zero_()
            yield batch, cursor

    def _of(self, reader: Reader, indices, rng, weight) -> Batch:
        r = self.recipe
        tokens = r.question_tokens if reader.source.frames == 1 else r.walk_tokens
        return reader.batch(indices, rng, weight, r.questions, tokens, r.answer_tokens)

    def _reader(self, source: Source) -> Reader:
        if source not in self._readers:
            self._readers[source] = Reader(
                self.cache,
                source,
                self.tokenizer,
                self.types,
                self.recipe.shape.grid,
                self._finder,
            )
        return self._readers[source]

    def _hidden(self, batch: Batch, tower: Tensor, looked: list[Tensor] | None = None) -> Tensor:
        prefix = prefix_embeddings(self.model, self.opening, tower, batch.frames)
        return packed_hidden(self.model, prefix, batch.questions, looked)

    def _answers(self, batch: Batch, hidden: Tensor) -> tuple[Tensor, Tensor]:
        logits = answer_logits(self.model, hidden, batch.answers)
        return logits, answer_targets(batch.questions, batch.answers, batch.lengths)

    def _probe_loss(self, batch: Batch, hidden: Tensor) -> Tensor:
        targets, mask = probe_targets(
            batch.shown,
            batch.counts,
            batch.labels.depth,
            batch.labels.known,
            len(self.opening),
            batch.frames,
        )
        read = self.probe(at_positions(hidden, batch.names))
        floor = floor_loss(read[..., PROBED:], batch.floors)
        return probe_loss(read[..., :PROBED], targets, mask) + self.recipe.floor_weight * floor

    def _function(self, batch: Batch):
        """The loss terms of a batch as a function, compiled once for each kind of batch."""
        asks = bool(batch.lengths.any())
        key = (asks, batch.frames)
        if key not in self._functions:

            def dense(batch: Batch) -> dict[str, Tensor]:
                tower = tower_tokens(self.model, batch.views)
                return self.head.loss(self.head(tower), batch.labels)

            def both(batch: Batch) -> dict[str, Tensor]:
                tower = tower_tokens(self.model, batch.views)
                looked: list[Tensor] = []
                hidden = self._hidden(batch, tower, looked)
                return {
                    'answer': answer_loss(*self._answers(batch, hidden)),
                    'probe': self._probe_loss(batch, hidden),
                    'grounding': grounding_loss(looked[0], batch.names, batch.shown),
                    **self.head.loss(self.head(tower), batch.labels),
                }

            function = both if asks else dense
            compiled = self._compiled
            self._functions[key] = torch.compile(function, dynamic=False) if compiled else function
        return self._functions[key]

    def _tokenizer_json(self) -> str:
        return self.tokenizer.backend_tokenizer.to_str()

    def _log(self, **entry) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / 'log.jsonl').open('a') as file:
            file.write(json.dumps({'time': round(time.time()), **entry}) + '\n')


def _optimisers(model: nn.Module, heads: tuple[nn.Module, ...], recipe: Recipe) -> list:
    """Muon for the hidden matrices, AdamW for the rest: half the steps of AdamW alone."""
    inner = model.model
    hidden = [
        p
        for part in (inner.vision_tower.encoder, inner.language_model.layers,
                     inner.multi_modal_projector)
        for p in part.parameters()
        if p.ndim == 2
    ]  # fmt: skip
    taken = {id(p) for p in hidden}
    unused = {id(p) for p in inner.vision_tower.post_layernorm.parameters()}
    rest = [
        p
        for module in (model, *heads)
        for p in module.parameters()
        if id(p) not in taken and id(p) not in unused
    ]
    muon = torch.optim.Muon(
        hidden, lr=recipe.lr, weight_decay=recipe.weight_decay, adjust_lr_fn='match_rms_adamw'
    )
    adam = torch.optim.AdamW(
        rest, lr=recipe.adam_lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True
    )
    for optimiser in (muon, adam):
        for group in optimiser.param_groups:
            group['base'] = group['lr']
    return [muon, adam]


def _to(batch: Batch, device: torch.device) -> Batch:
    if device.type == 'cpu':
        return batch
    labels = type(batch.labels)(*(t.to(device) for t in vars(batch.labels).values()))
    moved = {k: v.to(device) for k, v in vars(batch).items() if isinstance(v, Tensor)}
    return Batch(labels=labels, frames=batch.frames, **moved)


def _rounded(scores: dict) -> dict:
    return {name: round(value, 4) for name, value in scores.items()}


def _brief(shown: dict[str, float]) -> dict[str, str]:
    return {k: f'{shown[k]:.3f}' for k in ('answer', 'shape', 'colour', 'accuracy') if k in shown}
