"""Trains the small VLM of real photographs: a frozen DINOv2, a projector, a language model.

    python -m benchmarks.real.train --nyuv2 FOLDER --tower FOLDER_OR_HUB_ID --out FOLDER

Nothing is merged in training. What has been done is kept in --out: a stopped training goes on
with the same command. The checkpoint of the best validation is in --out/checkpoint.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.measuring import machine, put_into, table
from benchmarks.real import cached, nyu
from benchmarks.real.lessons import Batch, Lessons, prepared
from benchmarks.real.small_llava import (
    Shape,
    build,
    export,
    image_input,
    load_tower,
    opening,
    standardise,
    use_packed_attention,
    with_tower,
)
from benchmarks.real.vocabulary import word_tokenizer
from tosa_ros.errors import DataError, ModelError, TosaError
from tosa_ros.files import read_json, write_json
from tosa_ros.training.checkpoint import load_state, save_state
from tosa_ros.training.grounding import grounding_loss
from tosa_ros.training.packing import (
    answer_logits,
    answer_loss,
    answer_targets,
    at_positions,
    exactly_right,
    packed_hidden,
)


@dataclass(frozen=True)
class Recipe:
    """batch: views a step. questions: packed behind each. length: longest with its answer, tokens.

    steps: all; the last `decay` share lowers the learning rate to zero. average: of the weights
    that are tried on the held-out frames and exported, the share that one step keeps.
    absent_from: from this step on, names of what is not there are grounded too.
    """

    shape: Shape = field(default_factory=lambda: Shape(width=192, mlp=576))
    seed: int = 0
    steps: int = 1800
    batch: int = 8
    questions: int = 16
    length: int = 22
    lr: float = 2e-3
    adam_lr: float = 1e-3
    warmup: int = 60
    decay: float = 0.5
    weight_decay: float = 0.1
    dropout: float = 0.1
    label_weight: float = 0.3
    grounding_weight: float = 0.3
    probe_weight: float = 0.3
    absent_from: int = 1150
    average: float = 0.995
    clip: float = 1.0
    try_every: int = 200
    save_every: int = 50

    def rate(self, step: int) -> float:
        start = self.steps * (1 - self.decay)
        if step < start:
            return min(1.0, (step + 1) / self.warmup)
        part = (step - start) / (self.steps - start)
        return 0.5 * (1 + math.cos(math.pi * part)) + 1e-3


class Trainer:
    """Projector and language model, what helps them learn, and where the training is."""

    def __init__(self, recipe: Recipe, tower, lessons: Lessons, out: Path) -> None:
        self.recipe, self.tower, self.lessons, self.out = recipe, tower, lessons, Path(out)
        torch.manual_seed(recipe.seed)
        self.model = build(tower.config, recipe.shape, lessons.tokenizer)
        sample = torch.from_numpy(lessons.tokens[::40, 0].astype(np.float32)).flatten(0, 1)
        self.mean, self.std = sample.mean(0), sample.std(0) + 1e-3
        use_packed_attention(self.model)
        self._drop_out()
        width = recipe.shape.width
        self.heads = nn.ModuleDict(
            {'label': nn.Linear(width, len(nyu.CLASSES) + 1), 'probe': nn.Linear(width, 4)}
        )
        self.trained = nn.ModuleDict(
            {
                'projector': self.model.model.multi_modal_projector,
                'language': self.model.model.language_model,
                'heads': self.heads,
            }
        )
        self.average = {n: p.detach().clone() for n, p in self.trained.named_parameters()}
        self.optimisers = _optimisers(self.trained, recipe)
        self.step, self.best, self.spent_s = 0, 0.0, 0.0
        self.user = torch.tensor([opening(lessons.tokenizer)])

    def _drop_out(self) -> None:
        def hook(module: nn.Module, _, output):
            kept = output[0] if isinstance(output, tuple) else output
            kept = F.dropout(kept, self.recipe.dropout, module.training)
            return (kept, *output[1:]) if isinstance(output, tuple) else kept

        for layer in self.model.model.language_model.layers:
            layer.self_attn.register_forward_hook(hook)
            layer.mlp.register_forward_hook(hook)

    def resume(self) -> bool:
        state = load_state(self.out)
        if state is None:
            return False
        if state['made_for'] != self._made_for():
            raise ModelError(
                f'{self.out}: holds a training of other sizes or other words; name another --out'
            )
        self.trained.load_state_dict(state['trained'])
        self.average = state['average']
        for optimiser, saved in zip(self.optimisers, state['optimisers'], strict=True):
            optimiser.load_state_dict(saved)
        self.step, self.best, self.spent_s = state['step'], state['best'], state['spent_s']
        torch.set_rng_state(state['rng'])
        return True

    def _made_for(self) -> str:
        words = self.lessons.tokenizer.backend_tokenizer.to_str()
        return hashlib.sha256(f'{self.recipe.shape} {words}'.encode()).hexdigest()

    def save(self) -> None:
        save_state(
            self.out,
            {
                'trained': self.trained.state_dict(),
                'average': self.average,
                'optimisers': [o.state_dict() for o in self.optimisers],
                'made_for': self._made_for(),
                'step': self.step,
                'best': self.best,
                'spent_s': self.spent_s,
                'rng': torch.get_rng_state(),
            },
        )

    def run(self, until: int, minutes: float) -> None:
        """Trains to step `until`, or for so many minutes; saves now and then, and at the end."""
        start, r = time.monotonic(), self.recipe
        sums: dict[str, float] = {}
        while self.step < until and time.monotonic() - start < 60 * minutes:
            begun = time.monotonic()
            for name, value in self._one_step().items():
                sums[name] = sums.get(name, 0.0) + value
            self.spent_s += time.monotonic() - begun
            if self.step % r.save_every == 0:
                self._log(**{n: round(v / r.save_every, 4) for n, v in sums.items()})
                sums = {}
                self.save()
            if self.step % r.try_every == 0 or self.step == r.steps:
                self._try()
        self.save()

    def _one_step(self) -> dict[str, float]:
        r = self.recipe
        torch.manual_seed(r.seed * 1_000_003 + self.step)
        absent = self.step >= r.absent_from
        batch = self.lessons.train_batch(self.step, r.batch, r.questions, r.length, r.seed, absent)
        self.trained.train()
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group['lr'] = group['base'] * r.rate(self.step)
        terms = self._losses(batch)
        loss = (
            terms['answer']
            + r.label_weight * (terms['label'] + terms['depth'])
            + r.grounding_weight * terms['grounding']
            + r.probe_weight * terms['probe']
        )
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained.parameters(), r.clip)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step += 1
        keep = min(r.average, self.step / (self.step + 10))
        with torch.no_grad():
            for name, value in self.trained.named_parameters():
                self.average[name].lerp_(value, 1 - keep)
        return {name: value.item() for name, value in terms.items()}

    def _read(self, batch: Batch, looked: list[Tensor] | None = None) -> tuple[Tensor, ...]:
        """(image embeddings (B, N, D), hidden (B, Q, L, D), logits, targets)."""
        inner = self.model.model
        with torch.autocast('cpu', torch.bfloat16):
            visual = inner.multi_modal_projector((batch.tokens - self.mean) / self.std)
            start = inner.language_model.embed_tokens(self.user).to(visual.dtype)
            prefix = torch.cat((start.expand(len(visual), 1, -1), visual), 1)
            hidden = packed_hidden(self.model, prefix, batch.questions, looked)
            logits = answer_logits(self.model, hidden, batch.answers)
        return (
            visual,
            hidden,
            logits,
            answer_targets(batch.questions, batch.answers, batch.lengths),
        )

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        looked: list[Tensor] = []
        visual, hidden, logits, targets = self._read(batch, looked)
        side = batch.log_depth.shape[-1]
        read = self.heads['label'](visual.float())
        labels = batch.cells[:, ::2, ::2].flatten(1)
        depth = batch.log_depth.flatten(1)
        return {
            'answer': answer_loss(logits, targets),
            'label': F.cross_entropy(read[..., :-1].flatten(0, 1), labels.flatten()),
            'depth': (read[..., -1] - depth).abs().mean(),
            'grounding': grounding_loss(looked[0], batch.names, batch.shown),
            'probe': self._probe_loss(batch, hidden, depth, side),
        }

    def _probe_loss(self, batch: Batch, hidden: Tensor, depth: Tensor, side: int) -> Tensor:
        """A name's last state shows the thing's column, row, log depth and size."""
        shown = batch.shown[..., 1:].float()
        count = shown.sum(-1, keepdim=True)
        line = torch.linspace(-1, 1, side)
        column, row = line.repeat(side), line.repeat_interleave(side)
        of = torch.stack((column.expand_as(depth), row.expand_as(depth), depth), -1)
        means = torch.einsum('bqnp,bpc->bqnc', shown, of) / count.clamp(min=1)
        targets = torch.cat((means, count.clamp(min=1).log() / 3), -1)
        known = (count > 0).float()
        read = self.heads['probe'](at_positions(hidden, batch.names).float())
        return ((read - targets).abs() * known).sum() / (4 * known.sum()).clamp(min=1)

    @torch.no_grad()
    def accuracy(self, count: int = 12) -> dict[str, float]:
        """Exact answers on the held-out training frames, by kind, and over all."""
        self.trained.eval()
        right: dict[str, list[bool]] = {}
        for frame in self.lessons.validation:
            rng = np.random.default_rng([frame, 3])
            number = self.lessons.numbers[frame]
            asked = (
                list(self.lessons.asked[number])
                + self.lessons.questions(frame, 0, 2 * count, rng)[count:]
            )
            batch = self.lessons.batch([(frame, 0)], [asked], 1000)
            _, _, logits, targets = self._read(batch)
            for kind, ok in zip(batch.kinds[0], exactly_right(logits, targets)[0], strict=True):
                right.setdefault(kind, []).append(bool(ok))
        scores = {kind: float(np.mean(oks)) for kind, oks in sorted(right.items())}
        scores['all'] = float(np.mean([ok for oks in right.values() for ok in oks]))
        return {kind: round(score, 4) for kind, score in scores.items()}

    def _try(self) -> None:
        """The averaged weights on the held-out frames; exports them where they are the best."""
        current = {n: p.detach().clone() for n, p in self.trained.named_parameters()}
        self._put(self.average)
        scores = self.accuracy()
        if scores['all'] > self.best:
            self.best = scores['all']
            whole = with_tower(self.model, self.tower)
            standardise(whole.model.multi_modal_projector, self.mean, self.std)
            export(whole, self.lessons.tokenizer, self.out / 'checkpoint')
        self._put(current)
        self._log(validation=scores, best=self.best)

    def _put(self, weights: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in self.trained.named_parameters():
                value.copy_(weights[name])

    def _log(self, **entry) -> None:
        entry = {'step': self.step, 'minutes': round(self.spent_s / 60, 1), **entry}
        print(json.dumps(entry), file=sys.stderr, flush=True)
        with (self.out / 'log.jsonl').open('a') as file:
            file.write(json.dumps(entry) + '\n')


def _optimisers(trained: nn.Module, recipe: Recipe) -> list:
    """Muon for the hidden matrices, AdamW for embeddings, heads, norms and biases."""
    named = list(trained.named_parameters())
    hidden = [p for n, p in named if p.ndim == 2 and 'embed' not in n and 'heads' not in n]
    taken = {id(p) for p in hidden}
    rest = [p for _, p in named if id(p) not in taken]
    decay = recipe.weight_decay
    optimisers = [
        torch.optim.Muon(hidden, lr=recipe.lr, weight_decay=decay, adjust_lr_fn='match_rms_adamw'),
        torch.optim.AdamW(rest, lr=recipe.adam_lr, betas=(0.9, 0.98), weight_decay=0.01),
    ]
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group['base'] = group['lr']
    return optimisers


def lessons_of(folder: Path, tower, out: Path) -> Lessons:
    """Everything that is made once, from `out` where it is there already."""
    numbers = nyu.numbers(folder, 'train')
    weights = hashlib.sha256()
    for value in tower.state_dict().values():
        weights.update(value.numpy().tobytes())
    side = tower.config.image_size
    name = cached.cache_name(weights.hexdigest(), side)
    tokens = cached.cached_tokens(tower, image_input(tower).pixels, folder, numbers, out / name)
    patches = side // tower.config.patch_size
    made_of, labels = prepared(folder, numbers, patches, out / f'lessons-{patches}')
    every = [one for asked in nyu.daquar(folder, 'train').values() for one in asked]
    every += [m.asked for views in made_of for view in views for m in view]
    return Lessons(folder, numbers, tokens, word_tokenizer(every), made_of=made_of, labels=labels)


def described(trainer: Trainer) -> str:
    """The best validation so far, as the document has it."""
    tried = [one for one in read_json(trainer.out / 'log.jsonl') if 'validation' in one]
    if not tried:
        raise DataError(f'{trainer.out}: nothing was tried on the held-out frames yet')
    best = max(tried, key=lambda one: one['validation']['all'])
    rows = [{'kind': k, 'right': f'{100 * v:.1f}'} for k, v in best['validation'].items()]
    return (
        f'On the {len(trainer.lessons.validation)} held-out training frames after '
        f'{best["step"]:,} of {trainer.recipe.steps:,} steps, percent, which chose the checkpoint '
        f'({best["minutes"]:.0f} minutes; {machine()}):\n\n{table(rows)}'
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--nyuv2', type=Path, required=True, help='folder of NYUv2 and DAQUAR')
    parser.add_argument('--tower', required=True, help='folder or hub id of a DINOv2')
    parser.add_argument('--out', type=Path, required=True, help='folder of the training')
    parser.add_argument('--steps', type=int, default=Recipe.steps, help='of the whole training')
    parser.add_argument('--minutes', type=float, default=math.inf, help='stop after so many')
    parser.add_argument('--docs', type=Path, help='put the table into this folder')
    args = parser.parse_args()
    torch.set_num_threads(1)
    recipe = replace(Recipe(), steps=args.steps)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        tower = load_tower(args.tower, recipe.shape.side)
        trainer = Trainer(recipe, tower, lessons_of(args.nyuv2, tower, args.out), args.out)
        trainer.resume()
        write_json(args.out / 'recipe.json', asdict(recipe))
        trainer.run(recipe.steps, args.minutes)
        if args.docs:
            put_into(args.docs / 'real-model.md', 'real-model', described(trainer))
    except TosaError as error:
        print(f'train: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
