"""What is compared on real photographs: merging methods and baselines, each behind one call.

A contender takes a tower without merging, pixels and spatial tokens, and returns what it leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from benchmarks.real import baselines
from tosa_ros.merging import METHODS, MergingMethod, NoMerging, ToSA
from tosa_ros.spatial import SpatialTokens
from tosa_ros.vision import MergedTokens, merge_tokens

OURS = 'ToSA'
LABELS = {'tome': 'ToMe', 'tofu': 'ToFu', 'pitome': 'PiToMe', 'tosa': OURS}


@dataclass(frozen=True)
class InTower:
    """A method that merges between the layers of the tower."""

    name: str
    method: MergingMethod

    @property
    def keep(self) -> float:
        return getattr(self.method, 'keep', 1.0)

    @property
    def spatial(self) -> bool:
        """Whether it reads depth."""
        return hasattr(self.method, 'spatial')

    def __call__(
        self, tower: nn.Module, pixels: Tensor, spatial: SpatialTokens | None
    ) -> MergedTokens:
        with merge_tokens(tower, self.method) as handle:
            return handle(pixel_values=pixels, spatial=spatial if self.spatial else None)


def contenders(keeps: Iterable[float], merge_at: str | None = None) -> Iterator:
    """Nothing merged, then at each keep the methods, the paper's ToSA, and the baselines.

    merge_at: of the methods, instead of their default; the baselines are left out then.
    """
    yield InTower('none', NoMerging())
    given = {} if merge_at is None else {'merge_at': merge_at}
    for keep in keeps:
        for name, label in LABELS.items():
            yield InTower(label, METHODS[name](keep=keep, **given))
        if merge_at is None:
            yield InTower("ToSA, the paper's", ToSA.paper(keep=keep))
            yield from baselines.at(keep)
