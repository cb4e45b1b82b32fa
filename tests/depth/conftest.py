"""Small Depth Anything checkpoints with random weights, made once a session."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTImageProcessorPil,
)


def write_depth_anything(path, kind='relative', max_depth=1, seed=0):
    torch.manual_seed(seed)
    backbone = Dinov2Config(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=56,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=max_depth,
    )
    model = DepthAnythingForDepthEstimation(config)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d):  # the library's start is all but flat
                torch.nn.init.kaiming_normal_(module.weight)
        model.head.conv3.weight.mul_(0.2)
    model.save_pretrained(path)
    DPTImageProcessorPil(
        size={'height': 56, 'width': 56},
        keep_aspect_ratio=True,
        ensure_multiple_of=14,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    ).save_pretrained(path)
    return path


@pytest.fixture(scope='session')
def relative_checkpoint(tmp_path_factory):
    return write_depth_anything(tmp_path_factory.mktemp('relative'))


@pytest.fixture(scope='session')
def metric_checkpoint(tmp_path_factory):
    return write_depth_anything(tmp_path_factory.mktemp('metric'), 'metric', max_depth=20)
