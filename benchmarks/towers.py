"""Vision towers to time: real architectures with random weights, and the embedded model's."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from tosa_ros.assets import embedded_model
from tosa_ros.spatial import (
    PatchGrid,
    SpatialTokens,
    level_tokens,
    metric_tokens,
    patch_surfaces,
    relative_from_metric,
    stack,
)
from tosa_ros.vlm import VisionEncoder
from tosa_ros.vlm.untrained import TOWERS as LARGE

SMALL = {
    'hidden_size': 128,
    'intermediate_size': 512,
    'num_hidden_layers': 12,
    'num_attention_heads': 4,
    'image_size': 128,
    'patch_size': 8,
}
VIT_B = {
    'hidden_size': 768,
    'intermediate_size': 3072,
    'num_hidden_layers': 12,
    'num_attention_heads': 12,
    'image_size': 224,
    'patch_size': 16,
}
DIMENSIONS: dict[str, tuple[str, dict[str, Any]]] = {
    'so400m': LARGE['so400m'][:2],
    'clip-l-336': LARGE['clip-l-336'][:2],
    'vit-b': ('siglip_vision_model', VIT_B),
    'small': ('siglip_vision_model', SMALL),
}
NAMES = (*DIMENSIONS, 'embedded')


def tower(name: str, device: str, dtype: torch.dtype, image_size: int | None = None) -> nn.Module:
    """A tower of DIMENSIONS with random weights, or the embedded model's own."""
    if name == 'embedded':
        half = VisionEncoder.from_pretrained(embedded_model(), device=device, dtype=dtype)
        half.tower.remove()
        return half.tower.model
    kind, dimensions = DIMENSIONS[name]
    dimensions = {**dimensions, 'image_size': image_size or dimensions['image_size']}
    extra = {'vision_use_head': False} if kind.startswith('siglip') else {}
    config = AutoConfig.for_model(kind, **dimensions, **extra)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModel.from_config(config, dtype=dtype)
    return model.to(device).eval()


def twin(model: nn.Module) -> nn.Module:
    """The same model again on the same weights, to be changed independently."""
    return copy.deepcopy(model, {id(p): p for p in model.parameters()})


def pixels(model: nn.Module, batch: int) -> Tensor:
    parameter = next(model.parameters())
    side = model.config.image_size
    values = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(1))
    return values.to(parameter.device, parameter.dtype)


def spatial(model: nn.Module, batch: int, kind: str = 'metric') -> SpatialTokens:
    """Spatial tokens of sloping floors with boxes on them and a hole in the depth."""
    generator = torch.Generator().manual_seed(2)
    grid, camera = _view(model)
    maps = []
    for _ in range(batch):
        depth = _floor(grid.height, generator)
        if kind == 'metric':
            maps.append(metric_tokens(depth, camera, grid))
        else:
            maps.append(level_tokens(relative_from_metric(depth), grid))
    return stack(maps).to(str(next(model.parameters()).device))


def places(model: nn.Module) -> dict[str, Tensor]:
    """Points and normals of one such floor's patches, as exported towers take them."""
    grid, camera = _view(model)
    depth = _floor(grid.height, torch.Generator().manual_seed(2))
    points, normals = patch_surfaces(depth, camera, grid)
    return {'points': points, 'normals': normals}


def _view(model: nn.Module) -> tuple[PatchGrid, Tensor]:
    side = model.config.image_size
    count = side // model.config.patch_size
    camera = torch.tensor([side * 0.8, side * 0.8, side / 2, side / 2])
    return PatchGrid.over(count, count, side, side), camera


def _floor(side: int, generator: torch.Generator) -> Tensor:
    """Depth (S, S) in metres."""
    depth = torch.linspace(5, 1, side)[:, None].repeat(1, side)
    for _ in range(6):
        top, left = (torch.rand(2, generator=generator) * side * 0.8).int().tolist()
        near = float(torch.rand(1, generator=generator)) + 0.8
        depth[top : top + side // 5, left : left + side // 6] = near
    depth[: side // 8, : side // 5] = float('nan')
    return depth
