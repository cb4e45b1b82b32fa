from __future__ import annotations

import numpy as np
import pytest
import torch

from tosa_ros.depth import MonocularDepth
from tosa_ros.errors import ModelError
from tosa_ros.training.depth import (
    DepthRecipe,
    DepthTrainer,
    depth_loss,
    depth_target,
    export_depth,
)
from tosa_ros.training.shards import Source


class SmallDepthRecipe(DepthRecipe):
    @property
    def source(self) -> Source:
        return Source('single', 'train', shard=8)


def _recipe(kind: str, **changes) -> DepthRecipe:
    small = {'steps': 6, 'batch': 2, 'scenes': 16, 'width': 16, 'warmup': 1}
    return SmallDepthRecipe(kind, **{**small, **changes})


def test_relative_target_is_one_nearest_and_keeps_to_what_is_known():
    depth = torch.tensor([[[1.0, 2.0], [4.0, torch.nan]]])
    target, known = depth_target(depth, 'relative')
    assert known.tolist() == [[[True, True], [True, False]]]
    torch.testing.assert_close(target[known], torch.tensor([1.0, 1 / 3, 0.0]))
    assert depth_target(depth, 'metric')[0][known].tolist() == [1.0, 2.0, 4.0]


def test_loss_is_zero_for_the_truth_and_ignores_holes():
    depth = torch.tensor([[[1.0, 2.0], [4.0, torch.nan]]])
    assert depth_loss(torch.tensor([[[1.0, 2.0], [4.0, 9.0]]]), depth, 'metric') == 0
    halved = depth_loss(torch.tensor([[[2.0, 4.0], [8.0, 9.0]]]), depth, 'metric')
    torch.testing.assert_close(halved, torch.tensor(2.0).log())


@pytest.mark.parametrize('kind', ['relative', 'metric'])
def test_resumed_training_is_bit_identical(tmp_path, data, kind):
    whole = DepthTrainer(_recipe(kind), out=tmp_path / 'whole', cache=data)
    whole.train()
    DepthTrainer(_recipe(kind), out=tmp_path / 'parts', cache=data).train(until=3)
    second = DepthTrainer(_recipe(kind), out=tmp_path / 'parts', cache=data)
    assert second.resume()
    second.train()
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_training_lowers_the_error(tmp_path, data):
    recipe = _recipe('metric', steps=60, batch=4, scenes=4, lr=3e-3)
    trainer = DepthTrainer(recipe, out=tmp_path, cache=data)
    before = trainer._loss(*trainer._batch(0)).item()
    trainer.train()
    assert trainer._loss(*trainer._batch(0)).item() < 0.5 * before


@pytest.mark.parametrize('kind', ['relative', 'metric'])
def test_export_is_what_the_package_loads_as_depth_anything(tmp_path, data, kind):
    trainer = DepthTrainer(_recipe(kind), out=tmp_path / 'state', cache=data)
    folder = export_depth(trainer.model, tmp_path / 'model')
    estimator = MonocularDepth.from_pretrained(folder)
    assert estimator.kind == kind
    rgb = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    estimate = estimator.estimate(rgb)
    views = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        mine = trainer.model.eval()(pixel_values=views).predicted_depth[0].numpy()
    if kind == 'metric':
        np.testing.assert_allclose(estimate.depth_m, mine, rtol=1e-3)
    else:
        scaled = (mine - mine.min()) / max(float(np.ptp(mine)), 1e-9)
        np.testing.assert_allclose(estimate.relative_depth, scaled, atol=1e-2)


def test_bad_recipe_and_other_sizes(tmp_path, data):
    with pytest.raises(ModelError, match="kind: 'far'"):
        DepthRecipe('far')
    DepthTrainer(_recipe('metric'), out=tmp_path, cache=data).save()
    with pytest.raises(ModelError, match='other sizes'):
        DepthTrainer(_recipe('metric', width=32), out=tmp_path, cache=data).resume()
