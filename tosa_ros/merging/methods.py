"""The merging methods: small frozen dataclasses that say which tokens to fuse, and how.

A method holds settings only. `state.merge_layer` runs it for one layer of an encoder.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from tosa_ros.errors import MergingError
from tosa_ros.merging.combine import Groups, average, mlerp
from tosa_ros.merging.indexing import exporting
from tosa_ros.merging.matching import (
    Match,
    Sides,
    cosine,
    cosine_by_head,
    match_bipartite,
    match_energy,
    reduced_size,
    sides,
)
from tosa_ros.merging.schedule import Alpha, MergeAt, RemovalSpec, alpha_at, removals
from tosa_ros.settings.merging import check_fields, default

if TYPE_CHECKING:
    from tosa_ros.merging.state import MergeState

TIE_BREAK = 1e-5  # semantics' least weight: it decides between equal spatial scores


@dataclass(frozen=True, kw_only=True)
class MergingMethod:
    """What every method has: how much to remove.

    keep: fraction of the patch tokens left at the end, in (0, 1], met to within one token
        whatever the encoder's depth. The default is 0.25.
    r: tokens to remove a layer instead (see `schedule.removals`).
    merge_at: which layers merge: 'most', all but the first, early ones more tokens; 'few', many
        tokens at a time, which costs less time; 'every' one, in equal numbers, as in the papers;
        or a list of layers, 0 the first, in equal shares. As many tokens are left.
    proportional: add log(size) to the attention's key columns, so that a token counts for as
        many patches as it stands for. Off only for encoders trained by masked auto-encoding.
    where: in a model's 'tower', at its 'output' to the language model, or 'auto': in the tower of
        models that read its patches as they are. An encoder alone knows no output.
    """

    keep: float | None = None
    r: RemovalSpec | None = None
    proportional: bool = default('proportional')
    merge_at: MergeAt = default('merge_at')
    where: str = default('where')

    # Whether `match` looks at spatial tokens; if not, they are not carried along.
    spatial_aware: ClassVar[bool] = False
    # Fields that cannot be chosen.
    fixed: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.r is not None and self.keep is not None:
            raise MergingError(f'keep={self.keep} and r={self.r} are both given: leave one out')
        if self.r is None and self.keep is None:
            object.__setattr__(self, 'keep', default('keep'))
        check_fields(self)
        if self.r is not None and self.merge_at != default('merge_at'):
            raise MergingError(
                f'merge_at={self.merge_at!r} and r={self.r} are both given: a list for r says '
                'which layers merge'
            )

    def removals(self, tokens: int, layers: int) -> list[int]:
        """Patch tokens to remove in each layer."""
        return removals(tokens, layers, self.keep, self.r, self.merge_at)

    def match(self, keys: Tensor, r: int, *, layer: int, layers: int, state: MergeState) -> Match:
        """Pairs to fuse in this layer: r of the T patch tokens go, each into one that stays.

        keys (B, T, heads, C): the patch tokens' attention keys. state: what is known of the
        tokens: `patch_size`, `spatial`, `protected`.
        """
        raise NotImplementedError

    def fuse(self, x: Tensor, share: Tensor, groups: Groups) -> Tensor:
        """Tokens after the merge: (B, T, D) -> (B, T - r, D).

        share (B, T, 1): the part of its group's size that each token has.
        """
        return average(x, share, groups)

    def prunes(self, layer: int, layers: int) -> bool:
        """Whether this layer drops the matched tokens instead of fusing them."""
        return False


@dataclass(frozen=True, kw_only=True)
class NoMerging(MergingMethod):
    """Every token is kept; the encoder runs as it would without this package."""

    fixed: ClassVar[tuple[str, ...]] = tuple(field.name for field in fields(MergingMethod))

    def __post_init__(self) -> None:
        if self.keep in (None, 1):
            object.__setattr__(self, 'keep', None)
        for field in fields(self):
            if (value := getattr(self, field.name)) != field.default:
                raise MergingError(
                    f'NoMerging keeps every token, but {field.name}={value!r} was given: choose a '
                    'merging method, or leave it out'
                )
        object.__setattr__(self, 'keep', 1.0)


@dataclass(frozen=True, kw_only=True)
class ToMe(MergingMethod):
    """Token Merging (arXiv 2210.09461): bipartite matching of keys, size-weighted average.

    targets_at: 'auto': every second token may be merged into, fewer where a third or more must
        go; 'alternate': every second one, as published, wherever at most half must go.
    """

    targets_at: str = default('targets_at')

    def match(self, keys: Tensor, r: int, *, layer: int, layers: int, state: MergeState) -> Match:
        sides = _sides(self, r, state)
        return match_bipartite(cosine(keys.sum(dim=2), sides), sides, r)


@dataclass(frozen=True, kw_only=True)
class ToFu(ToMe):
    """Token Fusion (arXiv 2312.01026): ToMe's matching, early layers prune, later ones MLERP.

    prune_layers: how many layers, from the first, drop the matched tokens; None is half of them,
        the paper's best. Dropped patches belong to no token, and sizes stay as they were.
    """

    prune_layers: int | None = default('prune_layers')

    def fuse(self, x: Tensor, share: Tensor, groups: Groups) -> Tensor:
        return mlerp(x, share, groups)

    def prunes(self, layer: int, layers: int) -> bool:
        return layer < (layers // 2 if self.prune_layers is None else self.prune_layers)


@dataclass(frozen=True, kw_only=True)
class ToSA(MergingMethod):
    """Token Merging with Spatial Awareness (arXiv 2506.20066).

    Score of a pair: S = alpha * cosine of keys + (1 - alpha) * spatial similarity, or the cosine
    of keys alone where either token has no depth. Semantics decide between equal spatial scores.
    Fusing is ToMe's; spatial tokens are fused along. The defaults were chosen on real
    photographs (docs/quality.md); `ToSA.paper` is the published method.

    alpha: weight of semantics: one for all layers, a list, one a layer, or by name: 'increase'
        (spatial first, the paper's argument), 'uniform' (0.5), 'decrease', 'spatial' (0).
    spatial: which spatial tokens to make of a frame: 'metric' (3-D surfaces), 'levels' (the
        paper's 27 relative levels), or 'auto': metric where there are depth in metres and
        intrinsics, else levels.
    length_scale_m: of the metric kernel, metres (see `spatial.metric`).
    heads: 'each': the cosine of keys is the mean of the heads' cosines; 'mean': the cosine of
        their mean, as in the papers, which takes less arithmetic.
    ward: pairs merge in order of (1 - S) (2ab / (a + b))^ward, where a and b are their sizes. 1
        is Ward's criterion, by which two large tokens merge only if they are very much alike; 0
        is the papers' order, which looks at no size.
    targets_at: as of ToMe.
    """

    alpha: Alpha = default('alpha')
    spatial: str = default('spatial')
    length_scale_m: float = default('length_scale_m')
    heads: str = default('heads')
    ward: float = default('ward')
    targets_at: str = default('targets_at')

    spatial_aware: ClassVar[bool] = True

    @classmethod
    def paper(cls, keep: float = default('keep'), alpha: Alpha = 'increase') -> ToSA:
        """As published: 27 levels, a merge in every layer, alternating targets, mean keys."""
        return cls(
            keep=keep,
            alpha=alpha,
            spatial='levels',
            merge_at='every',
            heads='mean',
            ward=0,
            targets_at='alternate',
        )

    def removals(self, tokens: int, layers: int) -> list[int]:
        """Patch tokens to remove in each layer; a list of alphas must be as long, depth or not."""
        alpha_at(self.alpha, 0, layers)
        return super().removals(tokens, layers)

    def match(self, keys: Tensor, r: int, *, layer: int, layers: int, state: MergeState) -> Match:
        sides = _sides(self, r, state)
        by_head = self.heads == 'each'
        scores = cosine_by_head(keys, sides) if by_head else cosine(keys.sum(dim=2), sides)
        spatial = state.spatial
        if spatial is not None:
            alpha = max(alpha_at(self.alpha, layer, layers), TIE_BREAK)
            features = spatial.features
            near = spatial.similarity(sides.movers(features), sides.targets(features))
            # 1 - alpha; keys alone where either has no place.
            known = spatial.weight.clamp(max=(1 - alpha) ** 0.5).unsqueeze(2)
            weight = torch.bmm(sides.movers(known), sides.targets(known).mT)
            if exporting() and alpha > 0.5:
                scores = scores + weight * (near - scores)
            else:
                scores = torch.lerp(scores, near, weight)
        if self.ward:
            scores = scores.sub_(1).mul_(reduced_size(state.patch_size, sides, self.ward))
        return match_bipartite(scores, sides, r)


@dataclass(frozen=True, kw_only=True)
class PiToMe(MergingMethod):
    """PiToMe: tokens of low energy (the unusual ones) are protected, the others merge.

    margin: m0 of the energy's margin m0 (1 - layer / layers); 0.9 suits CLIP-like towers, 0.75
        DeiT and MAE.
    """

    margin: float = default('margin')

    def match(self, keys: Tensor, r: int, *, layer: int, layers: int, state: MergeState) -> Match:
        return match_energy(keys.sum(dim=2), r, self.margin * (1 - layer / layers))


def _sides(method: ToMe | ToSA, r: int, state: MergeState) -> Sides:
    """Which patch tokens may go, and which others may go into (see `matching.sides`)."""
    alternate = method.targets_at == 'alternate'
    return sides(state.tokens, r, state.protected, alternate)
