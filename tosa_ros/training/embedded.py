"""Trains the embedded model end to end: tokenizer, data producers, trainer, export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tosa_ros.errors import ModelError
from tosa_ros.files import cache_folder
from tosa_ros.training.checkpoint import load_state
from tosa_ros.training.recipe import Recipe
from tosa_ros.training.shards import (
    SIZES,
    STATES,
    open_shard,
    start_producer,
    write_shard,
)

if TYPE_CHECKING:
    from multiprocessing import Process

    from transformers import PreTrainedTokenizerFast

    from tosa_ros.training.depth import DepthRecipe
    from tosa_ros.training.trainer import Trainer

TOKENIZER_SHARDS = 2  # of single views; what episodes add is spelt from the same pieces


def default_folder() -> Path:
    """$XDG_CACHE_HOME/tosa_ros/train, by default under ~/.cache."""
    return cache_folder('train')


def trainer_of(
    recipe: Recipe,
    out: Path,
    data: Path,
    *,
    device: str = 'cpu',
    compiled: bool = True,
    fresh: bool = False,
) -> Trainer:
    """A trainer for the tiny world, as saved in `out` or at its start.

    fresh: pays no heed to what is saved. A new tokenizer is learned from the first data.
    """
    from tosa_ros.synthetic import (
        COLOURS,
        EPISODE_QUESTION_TYPES,
        FLOORS,
        QUESTION_TYPES,
        SHAPES,
    )
    from tosa_ros.training.tokenizer import tokenizer_from_json
    from tosa_ros.training.trainer import Trainer

    state = None if fresh else load_state(out)
    trainer = Trainer(
        recipe,
        tokenizer_from_json(state['tokenizer']) if state else _new_tokenizer(recipe, data),
        out=out,
        cache=data,
        attributes=(tuple(SHAPES), tuple(COLOURS), SIZES, STATES, FLOORS),
        types=tuple(dict.fromkeys((*QUESTION_TYPES, *EPISODE_QUESTION_TYPES))),
        device=device,
        compiled=compiled,
    )
    if state:
        trainer.restore(state)
    return trainer


def _new_tokenizer(recipe: Recipe, data: Path) -> PreTrainedTokenizerFast:
    from tosa_ros.training.tokenizer import train_tokenizer

    sources = [recipe.single, *(recipe.walks if recipe.episode_share else ())]
    texts = []
    for source in sources:
        for number in range(TOKENIZER_SHARDS):
            for asked in open_shard(write_shard(data, source, number)).questions:
                texts += [text for question in asked for text in question[:2]]
    return train_tokenizer(texts)


def start_producers(recipe: Recipe, data: Path, views: int = 256) -> list[Process]:
    """Processes that render what the recipe needs and is not there yet, ahead of the trainer."""
    sources = [
        (replace(recipe.single, split='val'), -(-views // recipe.single.shard)),
        (recipe.single, -(-recipe.scenes // recipe.single.shard)),
    ]
    for walk in recipe.walks if recipe.episode_share else ():
        sources += [(replace(walk, split='val'), 1)]
        sources += [(walk, -(-recipe.episodes // walk.shard))]
    return [start_producer(data, source, range(count)) for source, count in sources]


def start_depth_producers(recipe: DepthRecipe, data: Path) -> list[Process]:
    """As `start_producers`, for a depth estimator."""
    source = recipe.source
    return [start_producer(data, source, range(-(-recipe.scenes // source.shard)))]


def saved_recipe(out: Path) -> Recipe:
    """The recipe that the state in `out` was trained by.

    Raises:
        ModelError: there is no state, or it cannot be read.
    """
    from tosa_ros.training.model import Shape

    state = load_state(Path(out))
    if state is None:
        raise ModelError(f'{out}: no training state here; train first (tosa train --out {out})')
    saved = dict(state['recipe'])
    shape, frames = Shape(**saved.pop('shape')), tuple(saved.pop('frames'))
    return Recipe(shape=shape, frames=frames, **saved)
