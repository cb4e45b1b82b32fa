"""The embedded depth estimators: Depth Anything in miniature, trained on the same rooms.

Relative gives disparity, 0 farthest to 1 nearest in each view; metric gives metres.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation

from tosa_ros.errors import ModelError
from tosa_ros.training.checkpoint import load_state, save_state
from tosa_ros.training.export import exported_folder
from tosa_ros.training.loader import prefetched, sample_order
from tosa_ros.training.shards import Source, wait_for_shard

Kind = Literal['relative', 'metric']


@dataclass(frozen=True)
class DepthRecipe:
    """Sizes and optimisation. max_depth_m: what the metric head can say at most."""

    kind: Kind = 'relative'
    seed: int = 0
    steps: int = 700
    batch: int = 16
    scenes: int = 20_480
    width: int = 64
    layers: int = 4
    heads: int = 2
    patch: int = 8
    max_depth_m: int = 10
    lr: float = 2e-3
    warmup: int = 50

    def __post_init__(self) -> None:
        if self.kind not in ('relative', 'metric'):
            raise ModelError(f'kind: {self.kind!r}; wanted relative or metric')
        for name in ('steps', 'batch', 'scenes'):
            if getattr(self, name) < 1:
                raise ModelError(f'{name}: {getattr(self, name)}; wanted at least 1')

    @property
    def source(self) -> Source:
        return Source('single', 'train')

    def rate(self, step: int) -> float:
        left = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.lr * min(1.0, (step + 1) / self.warmup) * left


def build_depth_model(recipe: DepthRecipe) -> DepthAnythingForDepthEstimation:
    """A new model with random weights (seed torch first), float32."""
    backbone = {
        'model_type': 'dinov2',
        'image_size': 128,
        'patch_size': recipe.patch,
        'hidden_size': recipe.width,
        'num_hidden_layers': recipe.layers,
        'num_attention_heads': recipe.heads,
        'mlp_ratio': 3,
        'out_indices': [recipe.layers - i for i in (3, 2, 1, 0)],
        'reshape_hidden_states': False,
    }
    return DepthAnythingForDepthEstimation(
        DepthAnythingConfig(
            backbone_config=backbone,
            patch_size=recipe.patch,
            reassemble_hidden_size=recipe.width,
            reassemble_factors=[2, 1, 0.5, 0.25],  # convolve at half size: patches are small
            neck_hidden_sizes=[16, 32, 48, 64],
            fusion_hidden_size=32,
            head_hidden_size=16,
            depth_estimation_type=recipe.kind,
            max_depth=recipe.max_depth_m if recipe.kind == 'metric' else 1,
        )
    )


def depth_target(depth: Tensor, kind: Kind) -> tuple[Tensor, Tensor]:
    """What to predict for metres (N, H, W), and where it is known.

    metric: metres. relative: disparity, scaled to 0..1 in each view.
    """
    known = depth.isfinite() & (depth > 0)
    metres = torch.where(known, depth, 1.0)
    if kind == 'metric':
        return metres, known
    disparity = 1 / metres
    low = torch.where(known, disparity, torch.inf).flatten(1).amin(1)[:, None, None]
    high = torch.where(known, disparity, -torch.inf).flatten(1).amax(1)[:, None, None]
    return ((disparity - low) / (high - low).clamp(min=1e-6)).clamp(0, 1), known


def depth_loss(predicted: Tensor, depth: Tensor, kind: Kind) -> Tensor:
    """Mean absolute error over known pixels: of disparity, or of the logarithm of metres."""
    target, known = depth_target(depth, kind)
    if kind == 'metric':
        predicted, target = predicted.clamp(min=1e-2).log(), target.log()
    return (predicted - target).abs()[known].mean()


class DepthTrainer:
    """One training: model, optimiser and position; resumes from `out`."""

    def __init__(
        self, recipe: DepthRecipe, *, out: Path, cache: Path, device: str = 'cpu'
    ) -> None:
        self.recipe, self.out, self.cache = recipe, Path(out), Path(cache)
        self.device = torch.device(device)
        torch.manual_seed(recipe.seed)
        # Four times faster in bfloat16 on a CPU than channels first.
        self.model = build_depth_model(recipe).to(self.device, memory_format=torch.channels_last)
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=recipe.lr, betas=(0.9, 0.98), weight_decay=0.02, fused=True
        )
        self.step = 0

    @property
    def length(self) -> int:
        """Steps of the whole training."""
        return self.recipe.steps

    def resume(self) -> bool:
        """Goes on from the saved state, if there is one."""
        state = load_state(self.out)
        if state is None:
            return False
        try:
            self.model.load_state_dict(state['model'])
            self.optimiser.load_state_dict(state['optimiser'])
        except (RuntimeError, ValueError, KeyError) as error:
            raise ModelError(
                f'checkpoint in {self.out}: made for other sizes; use --fresh or another --out'
            ) from error
        self.step = state['step']
        return True

    def save(self) -> Path:
        return save_state(
            self.out,
            {
                'model': self.model.state_dict(),
                'optimiser': self.optimiser.state_dict(),
                'step': self.step,
                'recipe': asdict(self.recipe),
            },
        )

    def train(
        self, *, until: int | None = None, minutes: float = float('inf'), save_every: int = 200
    ) -> dict[str, float]:
        """Trains to step `until` (the recipe's last) or for so many minutes, and saves."""
        recipe = self.recipe
        until = self.length if until is None else min(until, self.length)
        deadline = time.monotonic() + minutes * 60
        self.model.train()
        bar = tqdm(total=until, initial=self.step, unit='step', mininterval=2)
        batches = prefetched(self._batch(step) for step in range(self.step, until))
        loss = math.nan
        try:
            for views, depth in batches:
                for group in self.optimiser.param_groups:
                    group['lr'] = recipe.rate(self.step)
                loss = self._loss(views, depth)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.optimiser.step()
                self.optimiser.zero_grad(set_to_none=True)
                loss = loss.item()
                self.step += 1
                bar.update()
                bar.set_postfix(loss=f'{loss:.4f}')
                if self.step % save_every == 0:
                    self.save()
                if self.step % 20 == 0:
                    self._log(step=self.step, loss=round(loss, 5))
                if time.monotonic() > deadline:
                    break
        finally:
            batches.close()
            bar.close()
        self.save()
        return {'loss': loss}

    @torch.no_grad()
    def evaluate(self, split: str = 'val', views: int = 128) -> dict[str, float]:
        """Mean absolute error of disparity (relative), or relative error and delta1 (metric)."""
        self.model.eval()
        errors: dict[str, list[float]] = {}
        for first in range(0, views, self.recipe.batch):
            pixels, depth = self._read(
                Source('single', split), np.arange(first, min(first + self.recipe.batch, views))
            )
            predicted = self.model(pixel_values=pixels).predicted_depth
            target, known = depth_target(depth, self.recipe.kind)
            if self.recipe.kind == 'relative':
                errors.setdefault('mae', []).append(
                    float((predicted - target).abs()[known].mean())
                )
                continue
            ratio = torch.maximum(predicted / target, target / predicted)[known]
            error = ((predicted - target).abs() / target)[known].mean()
            errors.setdefault('abs_rel', []).append(float(error))
            errors.setdefault('delta1', []).append(float((ratio < 1.25).float().mean()))
        self.model.train()
        return {name: round(float(np.mean(values)), 4) for name, values in errors.items()}

    def _loss(self, views: Tensor, depth: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16):
            predicted = self.model(pixel_values=views).predicted_depth
        return depth_loss(predicted.float(), depth, self.recipe.kind)

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        r = self.recipe
        return self._read(r.source, sample_order(step * r.batch, r.batch, r.scenes, r.seed))

    def _read(self, source: Source, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        shards = {n: wait_for_shard(self.cache, source, n) for n in {*(indices // source.shard)}}
        rows = [(shards[i // source.shard], i % source.shard) for i in indices]
        rgb = torch.from_numpy(np.stack([shard.rgb[row, 0] for shard, row in rows]))
        depth = torch.from_numpy(np.stack([shard.depth[row, 0] for shard, row in rows]))
        views = rgb.to(self.device).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        return views.contiguous(memory_format=torch.channels_last), depth.to(self.device).float()

    def _log(self, **entry) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / 'log.jsonl').open('a') as file:
            file.write(json.dumps(entry) + '\n')


def export_depth(
    model: DepthAnythingForDepthEstimation, target: Path, dtype: torch.dtype = torch.float32
) -> Path:
    """Writes a checkpoint directory that transformers loads by itself."""
    from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

    patch = model.config.patch_size
    processor = DPTImageProcessorPil(
        do_resize=True,
        size={'height': 128, 'width': 128},
        keep_aspect_ratio=True,
        ensure_multiple_of=patch,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    with exported_folder(target) as folder:
        kept = {name: p.dtype for name, p in model.state_dict().items()}
        model.to('cpu', dtype).save_pretrained(folder)
        model.to(next(iter(kept.values())))
        processor.save_pretrained(folder)
        path = folder / 'preprocessor_config.json'
        settings = json.loads(path.read_text())
        settings['image_processor_type'] = 'DPTImageProcessor'
        path.write_text(json.dumps(settings, indent=2) + '\n')
    return Path(target)
