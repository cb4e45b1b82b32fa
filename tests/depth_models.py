"""Small depth models with random weights."""

from __future__ import annotations

import torch
from safetensors.torch import load_file
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTImageProcessorPil,
    PromptDepthAnythingConfig,
    PromptDepthAnythingForDepthEstimation,
    PromptDepthAnythingImageProcessorPil,
)

from tosa_ros.depth.original import authors_names

IMAGENET = {'image_mean': [0.485, 0.456, 0.406], 'image_std': [0.229, 0.224, 0.225]}


def small_vit(**more):
    return {
        'hidden_size': 32,
        'num_hidden_layers': 4,
        'num_attention_heads': 2,
        'intermediate_size': 64,
    } | more


def enliven(model):
    """The library's start is all but flat."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight)
    return model


def random_depth_anything(kind='relative', max_depth=1, seed=0, width=32, layers=4, out=None):
    torch.manual_seed(seed)
    backbone = Dinov2Config(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=max(width // 64, 1),
        mlp_ratio=2,
        image_size=56,
        patch_size=14,
        out_indices=out or [1, 2, 3, 4],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=width,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=max_depth,
    )
    model = enliven(DepthAnythingForDepthEstimation(config))
    with torch.no_grad():
        model.head.conv3.weight.mul_(0.2)
    return model.eval()


def write_depth_anything(path, kind='relative', max_depth=1):
    random_depth_anything(kind, max_depth).save_pretrained(path)
    size = {'height': 56, 'width': 56}
    DPTImageProcessorPil(
        size=size, keep_aspect_ratio=True, ensure_multiple_of=14, **IMAGENET
    ).save_pretrained(path)
    return path


def original_depth_anything(folder):
    """A state dict as Depth Anything's authors name it, and the model of transformers it is of.

    The encoder is one head wide and, as ViT-S and ViT-B, of 12 layers.
    """
    model = random_depth_anything(width=64, layers=12, out=[3, 6, 9, 12])
    model.save_pretrained(folder)  # with the names that the hub's files have
    ours = load_file(folder / 'model.safetensors')
    state = {
        theirs: torch.cat([ours.pop(name) for name in many])
        for theirs, many in authors_names(12).items()
    }
    assert not ours
    return state, model


def prompted():
    """As prompt-depth-anything-vits-hf."""
    backbone = Dinov2Config(
        **small_vit(image_size=56, patch_size=14, mlp_ratio=2),
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )
    size = {'height': 56, 'width': 56}
    return PromptDepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type='metric',
    ), PromptDepthAnythingImageProcessorPil(
        size=size, ensure_multiple_of=14, keep_aspect_ratio=True, **IMAGENET
    )


def write_prompted(path):
    config, processor = prompted()
    torch.manual_seed(3)
    enliven(PromptDepthAnythingForDepthEstimation(config)).save_pretrained(path)
    processor.save_pretrained(path)
    return path
