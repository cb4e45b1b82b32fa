from __future__ import annotations

import pytest

pytest.importorskip('open3d')

from tosa_ros.training.embedded import trainer_of
from tosa_ros.training.model import Shape
from tosa_ros.training.recipe import Recipe
from tosa_ros.training.shards import Source, write_shard

TINY = Shape(
    vision_width=32,
    vision_layers=2,
    vision_heads=2,
    vision_mlp=48,
    text_width=32,
    text_layers=2,
    text_heads=2,
    text_mlp=48,
)


class SmallRecipe(Recipe):
    """A recipe whose shards are quickly rendered."""

    @property
    def single(self) -> Source:
        return Source('single', 'train', shard=8)

    @property
    def walks(self) -> tuple[Source, ...]:
        return tuple(Source('episode', 'train', frames, shard=2) for frames in self.frames)


@pytest.fixture(scope='session')
def recipe():
    return SmallRecipe(
        shape=TINY,
        steps=8,
        walk_steps=4,
        batch=4,
        questions=3,
        question_tokens=96,
        walk_tokens=96,
        answer_tokens=12,
        scenes=16,
        episodes=4,
        frames=(2, 3),
        dense_steps=2,
        easy_steps=1,
        episode_step=5,
        episode_share=0.5,
        warmup=2,
    )


@pytest.fixture(scope='session')
def data(tmp_path_factory, recipe):
    folder = tmp_path_factory.mktemp('data')
    for split in ('train', 'val'):
        for number in range(2 if split == 'train' else 1):
            write_shard(folder, Source('single', split, shard=8), number)
    for walk in recipe.walks:
        write_shard(folder, walk, 0)
        write_shard(folder, walk, 1)
    write_shard(folder, Source('episode', 'val', 3, shard=2), 0)
    return folder


@pytest.fixture
def make_trainer(recipe, data):
    def make(out, **changes):
        return trainer_of(changes.pop('recipe', recipe), out, data, compiled=False, **changes)

    return make
