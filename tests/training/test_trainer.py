from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from tosa_ros.errors import DataError, ModelError
from tosa_ros.synthetic import QUESTION_TYPES
from tosa_ros.training import checkpoint
from tosa_ros.training.checkpoint import load_state, save_state
from tosa_ros.training.embedded import saved_recipe
from tosa_ros.training.loader import check_type_names, prefetched, sample_order
from tosa_ros.training.recipe import Recipe
from tosa_ros.training.shards import Source, open_shard, shard_path, write_shard


def _weights(trainer):
    return {**trainer.model.state_dict(), **trainer.head.state_dict()}


def test_resumed_training_is_bit_identical_through_every_phase(tmp_path, make_trainer):
    whole = make_trainer(tmp_path / 'whole')
    whole.train(evaluate_every=100, save_every=100)
    first = make_trainer(tmp_path / 'parts')
    first.train(until=4, evaluate_every=100)
    second = make_trainer(tmp_path / 'parts')
    assert second.step == 4
    second.train(until=9, evaluate_every=100)  # into the walk steps
    third = make_trainer(tmp_path / 'parts')
    third.train(evaluate_every=100)
    assert third.step == whole.step == whole.length == 12
    assert third.cursor == whole.cursor
    assert any('episode' in name for name in whole.cursor)
    assert all(torch.equal(a, b) for a, b in zip(
        _weights(whole).values(), _weights(third).values(), strict=True))  # fmt: skip


def test_dense_phase_leaves_the_language_model_alone_and_answers_move_it(tmp_path, make_trainer):
    trainer = make_trainer(tmp_path)
    before = {k: v.clone() for k, v in _weights(trainer).items()}
    trainer.train(until=2)
    moved = {k for k, v in _weights(trainer).items() if not torch.equal(v, before[k])}
    assert any('vision_tower' in k for k in moved)
    assert not any('language_model' in k for k in moved)
    trainer.train(until=3)
    assert any(
        'language_model' in k and not torch.equal(v, before[k])
        for k, v in _weights(trainer).items()
    )


def test_training_learns_one_batch(tmp_path, make_trainer, recipe):
    trainer = make_trainer(
        tmp_path, recipe=replace(recipe, dense_steps=0, warmup=1, lr=1e-2, adam_lr=1e-2, steps=99)
    )
    batch, _ = next(trainer._batches(1))
    losses = [trainer.update(batch)['answer'] for _ in range(25)]
    assert losses[-1] < 0.5 * losses[0]


def test_accuracy_is_by_type_and_repeatable(tmp_path, make_trainer):
    trainer = make_trainer(tmp_path)
    scores = trainer.evaluate('val', views=8)
    assert set(scores) <= {*trainer.types, 'all'}
    assert 0 <= scores['all'] <= 1
    assert scores == trainer.evaluate('val', views=8)


def test_a_failed_write_keeps_the_earlier_state(tmp_path, monkeypatch):
    save_state(tmp_path, {'step': 1})

    def broken(state, file):
        file.write(b'half')
        raise OSError('disk full')

    monkeypatch.setattr(checkpoint.torch, 'save', broken)
    with pytest.raises(ModelError, match=r'state\.pt: cannot be written: disk full'):
        save_state(tmp_path, {'step': 2})
    assert load_state(tmp_path) == {'step': 1}
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.NAME]


def test_damaged_state_is_named(tmp_path):
    (tmp_path / checkpoint.NAME).write_bytes(b'not a checkpoint')
    with pytest.raises(ModelError, match=r'state\.pt.*--fresh'):
        load_state(tmp_path)


def test_state_of_other_sizes_is_refused(tmp_path, make_trainer, recipe):
    make_trainer(tmp_path).save()
    wider = replace(recipe, shape=replace(recipe.shape, vision_width=64))
    with pytest.raises(ModelError, match=r'other sizes.*--fresh'):
        make_trainer(tmp_path, recipe=wider)


def test_recipe_comes_back_from_a_state(tmp_path, make_trainer, recipe):
    make_trainer(tmp_path).save()
    assert saved_recipe(tmp_path) == Recipe(**vars(recipe))
    with pytest.raises(ModelError, match='train first'):
        saved_recipe(tmp_path / 'nothing')


def test_recipe_rates_rise_stay_and_fall_to_zero():
    recipe = Recipe(steps=100, walk_steps=100, warmup=10, decay=0.5)
    rates = [recipe.rate(step) for step in range(201)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:51] == [1.0] * 41
    assert all(a > b for a, b in pairwise(rates[51:100]))
    assert rates[99] < 0.01
    assert all(a < b for a, b in pairwise(rates[100:110]))  # the walk steps
    assert all(a > b for a, b in pairwise(rates[110:]))
    assert rates[109] == pytest.approx(recipe.walk_rate, rel=0.05)
    assert rates[200] == pytest.approx(0)


@pytest.mark.parametrize(
    ('change', 'match'), [({'steps': 0}, 'steps: 0'), ({'decay': 2}, 'decay')]
)
def test_bad_recipe(change, match):
    with pytest.raises(ModelError, match=match):
        Recipe(**change)


def test_order_passes_through_all_then_shuffles():
    order = sample_order(0, 30, total=10, seed=0)
    assert order[:10].tolist() == list(range(10))
    for lap in (order[10:20], order[20:]):
        assert sorted(lap) == list(range(10))
        assert lap.tolist() != list(range(10))
    assert sample_order(7, 9, total=10, seed=0).tolist() == order[7:16].tolist()


def test_prefetching_hands_over_items_and_errors():
    assert list(prefetched(iter(range(5)))) == [0, 1, 2, 3, 4]

    def failing():
        yield 1
        raise DataError('broken shard')

    items = prefetched(failing())
    assert next(items) == 1
    with pytest.raises(DataError, match='broken shard'):
        next(items)


def test_shards_are_whole_and_rendered_once(data):
    source = Source('single', 'train', shard=8)
    before = shard_path(data, source, 0).stat().st_mtime_ns
    shard = open_shard(write_shard(data, source, 0))
    assert shard_path(data, source, 0).stat().st_mtime_ns == before
    assert shard.rgb.shape == (8, 1, 128, 128, 3)
    assert shard.rgb.std() > 10
    assert shard.instances.max() < (shard.objects[..., 0] < 255).sum(1).max()
    assert not [p for p in (data / source.name).iterdir() if p.name.startswith('.')]


def test_shards_with_questions_of_another_world_are_refused(data):
    shard = open_shard(write_shard(data, Source('single', 'train', shard=8), 0))
    check_type_names(shard, QUESTION_TYPES)
    with pytest.raises(DataError, match=r"types \['colour'\].*delete the data cache"):
        check_type_names(shard, tuple(t for t in QUESTION_TYPES if t != 'colour'))


def test_bad_source_and_damaged_shard(tmp_path):
    with pytest.raises(DataError, match="kind: 'film'"):
        Source('film')
    with pytest.raises(DataError, match='frames: 3'):
        Source('single', frames=3)
    (tmp_path / 'rgb.npy').write_bytes(b'')
    with pytest.raises(DataError, match='delete the folder'):
        open_shard(tmp_path)
