from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, LlavaOnevisionForConditionalGeneration

import tosa_ros.assets
from tosa_ros.depth import MonocularDepth
from tosa_ros.synthetic import COLOURS, QUESTION_TYPES, SHAPES, single
from tosa_ros.training.grounding import NameFinder
from tosa_ros.training.loader import Reader
from tosa_ros.training.packing import (
    answer_logits,
    answer_targets,
    exactly_right,
    packed_hidden,
    prefix_embeddings,
    tower_tokens,
    use_training_attention,
)
from tosa_ros.training.shards import Source, write_shard
from tosa_ros.training.tokenizer import prompt_parts

ASSETS = Path(tosa_ros.assets.__file__).parent
VIEWS = 12


@pytest.fixture(scope='module')
def ask(tmp_path_factory):
    """Accuracy of the embedded model on test views, which may be shown dark."""
    data = tmp_path_factory.mktemp('assets')
    source = Source('single', 'test', shard=VIEWS)
    write_shard(data, source, 0)
    model = LlavaOnevisionForConditionalGeneration.from_pretrained(
        ASSETS / 'tiny-vlm', dtype=torch.float32
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(ASSETS / 'tiny-vlm')
    use_training_attention(model)
    reader = Reader(
        data, source, tokenizer, QUESTION_TYPES, 16, NameFinder(tokenizer, SHAPES, COLOURS)
    )
    batch = reader.batch(np.arange(VIEWS), np.random.default_rng(0), lambda kind: 1.0, 16, 32, 4)

    def accuracy(light: float) -> float:
        with torch.no_grad():
            tower = tower_tokens(model, (batch.views + 1) * light - 1)
            opening = torch.tensor(prompt_parts(tokenizer)[0])
            prefix = prefix_embeddings(model, opening, tower, frames=1)
            hidden = packed_hidden(model, prefix, batch.questions)
            logits = answer_logits(model, hidden, batch.answers)
        right = exactly_right(
            logits, answer_targets(batch.questions, batch.answers, batch.lengths)
        )
        return right[batch.lengths > 0].float().mean().item()

    return accuracy


def test_embedded_model_is_right_about_views_it_never_saw(ask):
    assert ask(light=1.0) > 0.88


def test_embedded_model_cannot_answer_in_the_dark(ask):
    assert ask(light=0.0) < 0.55


def test_embedded_depth_is_close_to_the_truth():
    frames = [single('test', index, questions=0).frame for index in range(4)]
    metric = MonocularDepth.from_pretrained(ASSETS / 'tiny-depth-metric')
    relative = MonocularDepth.from_pretrained(ASSETS / 'tiny-depth-relative')
    for frame in frames:
        error = np.abs(metric.estimate(frame.rgb).depth_m - frame.depth_m) / frame.depth_m
        assert np.nanmean(error) < 0.2
        nearness = relative.estimate(frame.rgb).relative_depth
        assert np.corrcoef(nearness.ravel(), 1 / frame.depth_m.ravel())[0, 1] > 0.9


def test_assets_fit_in_the_box():
    size = sum(p.stat().st_size for p in ASSETS.rglob('*') if p.is_file())
    assert size < 25e6
