"""A second tower, of another kind: a small SigLIP-shaped ViT trained from nothing on NYUv2.

    python -m benchmarks.real.second_tower --nyuv2 FOLDER --out FOLDER

Sixteen-pixel patches, no class token, no self-supervision: whatever holds on it and on DINOv2
was not fitted to DINOv2. It learns each patch's class and log depth from the training frames. A
stopped training goes on with the same command; the tower is in --out/checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from benchmarks.real import nyu
from tosa_ros.errors import ModelError, TosaError
from tosa_ros.files import write_json
from tosa_ros.training.checkpoint import load_state, save_state

FINE = 4  # label and depth samples along a patch's side
MIRRORED, SMALLEST_CROP = 0.5, 0.45


@dataclass(frozen=True)
class Recipe:
    """Sizes in pixels and channels; steps of `batch` random crops each."""

    image: int = 256
    patch: int = 16
    width: int = 192
    layers: int = 12
    heads: int = 3
    mlp: int = 768
    seed: int = 0
    steps: int = 3000
    batch: int = 16
    lr: float = 1e-3
    warmup: int = 100
    weight_decay: float = 0.05
    save_every: int = 100

    @property
    def side(self) -> int:
        return self.image // self.patch


def build(recipe: Recipe) -> nn.ModuleDict:
    """The tower, and one linear head for classes and depth."""
    from transformers import SiglipVisionConfig, SiglipVisionModel

    torch.manual_seed(recipe.seed)
    config = SiglipVisionConfig(
        image_size=recipe.image,
        patch_size=recipe.patch,
        hidden_size=recipe.width,
        intermediate_size=recipe.mlp,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        vision_use_head=False,
    )
    head = nn.Linear(recipe.width, len(nyu.CLASSES) + 1)
    return nn.ModuleDict({'tower': SiglipVisionModel(config), 'head': head})


def crop(scene: nyu.Scene, rng: np.random.Generator) -> nyu.Scene:
    """A random part of the scene, mirrored half of the time."""
    width, height = rng.uniform(SMALLEST_CROP, 1, 2)
    left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    box = (left, top, left + width, top + height)
    return nyu.View(box, mirrored=bool(rng.random() < MIRRORED)).of(scene)


def example(scene: nyu.Scene, recipe: Recipe, gain: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels (3, S, S) in -1..1, each patch's commonest class (N,), and log depth (N,), or NaN."""
    size = (recipe.image, recipe.image)
    small = Image.fromarray(scene.rgb).resize(size, Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1).float() / 127.5 - 1
    fine = (recipe.side * FINE, recipe.side * FINE)
    labels = Image.fromarray(scene.labels).resize(fine, Image.Resampling.NEAREST)
    depth = Image.fromarray(scene.depth_m).resize(fine, Image.Resampling.NEAREST)
    classes = _patches(torch.from_numpy(np.asarray(labels).astype(np.int64)), recipe)
    metres = _patches(torch.from_numpy(np.array(depth)), recipe)
    return (pixels * gain).clamp(-1, 1), classes.mode(dim=1).values, metres.nanmean(dim=1).log()


def _patches(fine: Tensor, recipe: Recipe) -> Tensor:
    cut = fine.unflatten(0, (recipe.side, FINE)).unflatten(2, (recipe.side, FINE))
    return cut.permute(0, 2, 1, 3).flatten(2).flatten(0, 1)


def losses(parts: nn.ModuleDict, pixels: Tensor, classes: Tensor, depth: Tensor) -> Tensor:
    """Cross entropy of the classes plus the absolute error of log depth."""
    tower = parts['tower']
    with torch.autocast('cpu', torch.bfloat16):
        out = parts['head'](tower(pixel_values=pixels).last_hidden_state).float()
    known = depth.isfinite()
    wrong = (out[..., -1] - depth.nan_to_num(0.0)).abs()[known].mean()
    return F.cross_entropy(out[..., :-1].flatten(0, 1), classes.flatten()) + wrong


def rate(recipe: Recipe, step: int) -> float:
    if step < recipe.warmup:
        return recipe.lr * (step + 1) / recipe.warmup
    part = (step - recipe.warmup) / max(recipe.steps - recipe.warmup, 1)
    return recipe.lr * (0.5 * (1 + math.cos(math.pi * part)) + 1e-3)


def train(recipe: Recipe, folder: Path, out: Path, minutes: float) -> bool:
    """Trains until the last step, or for so many minutes; whether it has ended."""
    parts = build(recipe).train()
    optimiser = torch.optim.AdamW(
        parts.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True
    )
    step, state = 0, load_state(out)
    if state is not None:
        if state['recipe'] != asdict(recipe):
            raise ModelError(f'{out}: holds a training by another recipe; name another --out')
        parts.load_state_dict(state['parts'])
        optimiser.load_state_dict(state['optimiser'])
        step = state['step']
    scenes = [nyu.scene(folder, number) for number in nyu.numbers(folder, 'train')]
    began, total = time.monotonic(), 0.0
    while step < recipe.steps and time.monotonic() - began < 60 * minutes:
        rng = np.random.default_rng([recipe.seed, step])
        chosen = rng.choice(len(scenes), recipe.batch, replace=False)
        batch = [example(crop(scenes[i], rng), recipe, rng.uniform(0.8, 1.1)) for i in chosen]
        for group in optimiser.param_groups:
            group['lr'] = rate(recipe, step)
        loss = losses(parts, *(torch.stack(column) for column in zip(*batch, strict=True)))
        loss.backward()
        nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        step, total = step + 1, total + loss.item()
        if step % recipe.save_every == 0 or step == recipe.steps:
            seconds = round(time.monotonic() - began)
            row = {'step': step, 'loss': round(total / recipe.save_every, 4), 'seconds': seconds}
            print(json.dumps(row), flush=True)
            total = 0.0
            parts_state, optimiser_state = parts.state_dict(), optimiser.state_dict()
            save_state(
                out,
                {
                    'recipe': asdict(recipe),
                    'parts': parts_state,
                    'optimiser': optimiser_state,
                    'step': step,
                },
            )
            export(parts, recipe, out / 'checkpoint')
    return step == recipe.steps


def export(parts: nn.ModuleDict, recipe: Recipe, folder: Path) -> None:
    """The tower as transformers saves it, with what the pixels are scaled by."""
    folder.mkdir(parents=True, exist_ok=True)
    parts['tower'].save_pretrained(folder)
    size = {'height': recipe.image, 'width': recipe.image}
    half = [0.5, 0.5, 0.5]
    write_json(
        folder / 'preprocessor_config.json',
        {'image_mean': half, 'image_std': half, 'size': size, 'resample': 2},
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--nyuv2', type=Path, required=True, help='folder of rgb, depth, labels40')
    parser.add_argument('--out', type=Path, required=True, help='state and checkpoint')
    parser.add_argument('--steps', type=int, default=Recipe.steps)
    parser.add_argument('--minutes', type=float, default=math.inf, help='stop after this long')
    args = parser.parse_args(argv)
    try:
        ended = train(Recipe(steps=args.steps), args.nyuv2, args.out, args.minutes)
    except TosaError as error:
        raise SystemExit(str(error)) from error
    print('trained' if ended else 'stopped before the end: the same command goes on')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
