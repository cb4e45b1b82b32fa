"""Baselines that keep as many tokens as merging does: how much is merging worth at all?

But for the smaller picture, each runs the whole tower and then throws tokens away or pools them:
they save no vision time. What a baseline drops is represented, where a dense map is wanted, by the
nearest token that it kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tosa_ros.merging import NoMerging
from tosa_ros.spatial import SpatialTokens
from tosa_ros.vision import MergedTokens, adapter_for, merge_tokens


@dataclass(frozen=True)
class Baseline:
    """One way to keep a share of the tower's output tokens. Square grids only."""

    keep: float

    name: ClassVar[str] = ''
    spatial: ClassVar[bool] = False

    def __call__(
        self, tower: nn.Module, pixels: Tensor, spatial: SpatialTokens | None
    ) -> MergedTokens:
        with merge_tokens(tower, NoMerging()) as handle:
            return self.reduced(handle, handle(pixel_values=pixels))

    def count(self, patches: int) -> int:
        return max(1, round(self.keep * patches))

    def reduced(self, handle, full: MergedTokens) -> MergedTokens:
        raise NotImplementedError


class Chosen(Baseline):
    """Keeps some tokens as they are."""

    def reduced(self, handle, full: MergedTokens) -> MergedTokens:
        return kept(full, self.chosen(full, self.count(full.tokens.shape[1])).sort(dim=1).values)

    def chosen(self, full: MergedTokens, count: int) -> Tensor:
        """(B, count) numbers of the tokens to keep."""
        raise NotImplementedError


class RandomTokens(Chosen):
    """As many patches as may stay, drawn anew for each picture (seeded by what it shows)."""

    name = 'random patches'

    def chosen(self, full: MergedTokens, count: int) -> Tensor:
        rows = []
        for tokens in full.tokens.float():
            seed = int(tokens.abs().sum() * 1000) % 2**31
            generator = torch.Generator().manual_seed(seed)
            rows.append(torch.randperm(len(tokens), generator=generator)[:count])
        return torch.stack(rows)


class UniformGrid(Chosen):
    """Patches spread evenly over the picture, row by row."""

    name = 'uniform grid'

    def chosen(self, full: MergedTokens, count: int) -> Tensor:
        patches = full.tokens.shape[1]
        side = math.isqrt(patches)
        rows = max(1, min(count, round(math.sqrt(count))))
        chosen = []
        for row in range(rows):
            here = count * (row + 1) // rows - count * row // rows
            v = int((row + 0.5) * side / rows)
            chosen += [v * side + int((i + 0.5) * side / here) for i in range(here)]
        return torch.tensor(chosen).expand(len(full.tokens), -1)


class DartTokens(Chosen):
    """DART (arXiv 2502.11494): a few pivots of large norm, and what repeats them least."""

    name = 'DART'
    pivots: ClassVar[int] = 8

    def chosen(self, full: MergedTokens, count: int) -> Tensor:
        tokens = full.tokens.float()
        pivots = tokens.norm(dim=-1).topk(min(self.pivots, count), dim=1).indices
        unit = F.normalize(tokens, dim=-1)
        heads = unit.gather(1, pivots.unsqueeze(-1).expand(-1, -1, unit.shape[-1]))
        alike = (unit @ heads.mT).amax(dim=2)
        alike = alike.scatter(1, pivots, -math.inf)
        return alike.topk(count, dim=1, largest=False).indices


class VisionDrop(Baseline):
    """VisionDrop at the tower's output: what is looked at most stays, the rest is merged.

    Looked at: the mean attention that a patch gets from all patches in the last layer. Of the
    tokens left, the share CONTEXT are evenly drawn from the rest, and every other one of the rest
    is averaged into the one of them with the most similar keys.
    """

    name = 'VisionDrop'
    context: ClassVar[float] = 0.15

    def __call__(
        self, tower: nn.Module, pixels: Tensor, spatial: SpatialTokens | None
    ) -> MergedTokens:
        adapter = adapter_for(tower)
        attention = adapter.attention(adapter.layers[-1])
        seen: dict[str, Tensor] = {}
        hooks = [
            getattr(attention, f'{part}_proj').register_forward_hook(
                lambda module, args, out, part=part: seen.__setitem__(part, out)
            )
            for part in 'qk'
        ]
        try:
            with merge_tokens(tower, NoMerging()) as handle:
                full = handle(pixel_values=pixels)
                protected = handle.adapter.protected
        finally:
            for hook in hooks:
                hook.remove()
        q, k = (
            seen[part][:, protected:]
            .float()
            .unflatten(-1, (-1, attention.head_dim))
            .transpose(1, 2)
            for part in 'qk'
        )
        weights = (q @ k.mT / math.sqrt(attention.head_dim)).softmax(dim=-1).mean(dim=(1, 2))
        return self.fused(full, weights, k.transpose(1, 2).flatten(2))

    def fused(self, full: MergedTokens, weights: Tensor, keys: Tensor) -> MergedTokens:
        batch, patches = weights.shape
        count = self.count(patches)
        context = min(max(1, round(self.context * count)), count)
        order = weights.argsort(dim=1, descending=True)
        top, rest = order[:, : count - context], order[:, count - context :].sort(dim=1).values
        spread = torch.linspace(0, rest.shape[1] - 1, context).round().long()
        anchors = rest[:, spread]
        unit = F.normalize(keys, dim=-1)
        width = unit.shape[-1]
        alike = unit.gather(1, rest.unsqueeze(-1).expand(-1, -1, width)) @ (
            unit.gather(1, anchors.unsqueeze(-1).expand(-1, -1, width)).mT
        )
        into = anchors.gather(1, alike.argmax(dim=2))
        group = torch.arange(patches).expand(batch, -1).clone().scatter_(1, rest, into)
        group.scatter_(1, anchors, anchors)
        stays = torch.cat([top, anchors], dim=1).sort(dim=1).values
        return pooled(full, group, stays)


class Pooled(Baseline):
    """2 x 2 neighbours averaged at the output, as LLaVA-OneVision pools video; keep 0.25 alone."""

    name = '2x2 pooling'

    def reduced(self, handle, full: MergedTokens) -> MergedTokens:
        batch, patches = full.source.shape
        side = math.isqrt(patches)
        row, column = torch.arange(patches) // side, torch.arange(patches) % side
        group = (row // 2 * 2) * side + column // 2 * 2
        stays = group.unique()
        return pooled(full, group.expand(batch, -1), stays.expand(batch, -1))


class SmallerPicture(Baseline):
    """The picture is made smaller until it has so few patches: no token is merged or lost."""

    name = 'smaller picture'

    def __call__(
        self, tower: nn.Module, pixels: Tensor, spatial: SpatialTokens | None
    ) -> MergedTokens:
        patch = tower.config.patch_size
        side = pixels.shape[-1] // patch
        small = max(1, round(math.sqrt(self.keep * side**2)))
        shrunk = F.interpolate(
            pixels.float(), size=(small * patch,) * 2, mode='bicubic', antialias=True
        ).to(pixels.dtype)
        # DINOv2 stretches its positions by itself, SigLIP on request.
        extra = {} if 'dinov2' in tower.config.model_type else {'interpolate_pos_encoding': True}
        with merge_tokens(tower, NoMerging()) as handle:
            full = handle(pixel_values=shrunk, **extra)
        at = ((torch.arange(side) + 0.5) * small / side).long()
        source = (at[:, None] * small + at[None]).flatten().expand(len(pixels), -1)
        size = F.one_hot(source, small**2).sum(dim=1).float()
        return MergedTokens(full.tokens, full.class_tokens, size, source, None, source)


ALL = (RandomTokens, UniformGrid, Pooled, SmallerPicture, VisionDrop, DartTokens)


def at(keep: float) -> Iterator[Baseline]:
    """Those that can keep this share."""
    for cls in ALL:
        if cls is not Pooled or keep == 0.25:
            yield cls(keep)


def kept(full: MergedTokens, chosen: Tensor) -> MergedTokens:
    """The chosen (B, K) tokens, rising; the nearest in the grid stands for a dropped patch."""
    batch, patches = full.source.shape
    tokens = full.tokens.gather(1, chosen.unsqueeze(-1).expand(-1, -1, full.tokens.shape[-1]))
    slots = torch.arange(chosen.shape[1]).expand(batch, -1)
    source = torch.full((batch, patches), -1).scatter_(1, chosen, slots)
    side = math.isqrt(patches)
    place = torch.stack([torch.arange(patches) // side, torch.arange(patches) % side], 1).float()
    nearest = torch.cdist(place.expand(batch, -1, -1), place[chosen]).argmin(dim=2)
    nearest = source.where(source >= 0, nearest)
    size = torch.ones(chosen.shape)
    return MergedTokens(tokens, full.class_tokens, size, source, None, nearest)


def pooled(full: MergedTokens, group: Tensor, stays: Tensor) -> MergedTokens:
    """Averages of groups: group (B, N) names each patch's group by a patch, stays (B, K) all."""
    tokens = stays.shape[1]
    slots = torch.zeros_like(group).scatter_(1, stays, torch.arange(tokens).expand(len(stays), -1))
    source = slots.gather(1, group)
    # In the order of their first patches.
    number = torch.arange(group.shape[1]).expand_as(group)
    first = number.new_full((len(group), tokens), group.shape[1])
    first = first.scatter_reduce(1, source, number, 'amin')
    source = first.argsort(dim=1).argsort(dim=1).gather(1, source)
    member = F.one_hot(source, stays.shape[1]).float()
    size = member.sum(dim=1)
    tokens = (member.mT @ full.tokens.float()) / size.unsqueeze(-1)
    return MergedTokens(
        tokens.to(full.tokens.dtype), full.class_tokens, size, source, None, source
    )
