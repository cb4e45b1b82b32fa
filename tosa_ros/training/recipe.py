"""Every choice of the training in one place, and what follows from them at each step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from tosa_ros.errors import ModelError
from tosa_ros.training.model import Shape
from tosa_ros.training.shards import Source

# Learned first: each is answered from one object, without comparing or counting.
EASY = ('existence', 'colour', 'shape', 'size', 'floor', 'state', 'function')
# Of walks only, and learned last.
WALKED = ('first_seen', 'which_room', 'room_count')


@dataclass(frozen=True)
class Recipe:
    """Sizes, data, curriculum and optimisation of the embedded model.

    batch: views a step (episodes of F frames count F). questions: packed behind each view.
    question_tokens, walk_tokens: longest question with its answer, of
    views and of episodes; longer ones are left out. scenes, episodes: how many there are (of
    episodes: of each length in `frames`).
    dense_steps: of pre-training on labels alone; easy_steps: after them, with easy types three
    in four; episode_step: from there on, `episode_share` of the steps are on episodes.
    steps: all of them but the walk steps; the last `decay` share lowers the learning rate to
    zero. walk_steps: after them, with `walk_share` of them on episodes; their learning rate
    starts at `walk_rate` of the others' and falls to zero.
    """

    shape: Shape = field(default_factory=Shape)
    seed: int = 0
    steps: int = 2600
    walk_steps: int = 2800
    batch: int = 16
    questions: int = 12
    question_tokens: int = 26
    walk_tokens: int = 32
    answer_tokens: int = 4
    scenes: int = 20_480
    episodes: int = 2_048
    frames: tuple[int, ...] = (4, 8)
    dense_steps: int = 400
    easy_steps: int = 480
    episode_step: int = 1700
    episode_share: float = 0.1
    walk_share: float = 0.65
    walk_rate: float = 0.5
    dense_weight: float = 0.3
    grounding_weight: float = 0.5
    floor_weight: float = 0.3
    lr: float = 2e-3
    adam_lr: float = 2e-3
    warmup: int = 60
    decay: float = 0.4
    weight_decay: float = 0.02
    clip: float = 1.0

    def __post_init__(self) -> None:
        for name in ('steps', 'walk_steps', 'batch', 'questions', 'scenes'):
            if getattr(self, name) < 1:
                raise ModelError(f'{name}: {getattr(self, name)}; wanted at least 1')
        if not 0 <= self.decay <= 1:
            raise ModelError(f'decay: {self.decay}; wanted a share, 0..1')

    @property
    def single(self) -> Source:
        return Source('single', 'train')

    @property
    def walks(self) -> tuple[Source, ...]:
        return tuple(Source('episode', 'train', frames, shard=64) for frames in self.frames)

    def rate(self, step: int) -> float:
        """The learning rate's factor: up, level, then down by a cosine."""
        if step >= self.steps:
            step -= self.steps
            start = min(1.0, (step + 1) / self.warmup)
            return self.walk_rate * start * _fall(step / self.walk_steps)
        start = self.steps * (1 - self.decay)
        if step < self.warmup:
            return (step + 1) / self.warmup
        if step < start:
            return 1.0
        return _fall((step - start) / (self.steps - start))

    def answers(self, step: int) -> bool:
        return step >= self.dense_steps

    def source(self, step: int) -> Source:
        rng = np.random.default_rng([self.seed, step, 7])
        share = self.episode_share if step < self.steps else self.walk_share
        if step >= self.episode_step and rng.random() < share:
            return self.walks[rng.integers(len(self.walks))]
        return self.single

    def type_weight(self, kind: str, step: int) -> float:
        """How readily a question of this type is drawn."""
        if step < self.dense_steps + self.easy_steps and kind not in EASY:
            return 0.15
        return 2.0 if step >= self.steps and kind in WALKED else 1.0


def _fall(share: float) -> float:
    """From 1 to 0 by a cosine."""
    return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
